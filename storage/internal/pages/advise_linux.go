package pages

import "syscall"

// adviseHuge asks for huge pages. Where there are none, small ones do.
func adviseHuge(p []byte) { _ = syscall.Madvise(p, syscall.MADV_HUGEPAGE) }

// adviseSmall asks for small pages, also where the system makes huge ones
// unasked.
func adviseSmall(p []byte) { _ = syscall.Madvise(p, syscall.MADV_NOHUGEPAGE) }

// Release lets the system have pages back until they are written again. p
// begins and ends at a page. From now on these are small pages: of a huge one
// that is partly given back, the system would else make a whole one again when
// it next has the time, and take for it what nobody wrote.
func Release(p []byte) {
	adviseSmall(p)
	_ = syscall.Madvise(p, syscall.MADV_DONTNEED) // without it they stay, which is counted anyway
}
