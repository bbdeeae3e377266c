package vfs

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// asyncReadsMax is how many reads one file has under way; more of them are
	// made as if there were no ring.
	asyncReadsMax = 256

	ringOpRead           = 22
	ringRegisterEventfd  = 4
	ringFeatureOneMap    = 1
	ringOffsetRings      = 0
	ringOffsetEntries    = 0x10000000
	ringEntryBytes       = 64
	ringCompletionBytes  = 16
	ringReadBytesMax     = 1 << 30
	ringParametersLength = 120
)

// Async gives f, opened by OS, in a form whose ReadAt does not keep a processor
// while the disk is busy: Go's scheduler takes 20 µs and more to notice that a read
// blocks, so that with two processors little more than two reads are ever under way,
// however many goroutines want one. What the page cache has is copied at once; the
// rest goes through an io_uring (Linux 5.6), whose completions a goroutine waits for
// as for a socket. Where there is no io_uring, or for a file of another FS, it is f
// as it was. Closing it closes f, and waits for the goroutine.
func Async(f File) File {
	file, ok := f.(osFile)
	if !ok {
		return f
	}
	r, err := newRing(int(file.Fd()))
	if err != nil {
		return f // forbidden or too old: then reads block, which is slower and as right
	}
	a := &asyncFile{osFile: file, fd: int(file.Fd()), ring: r}
	a.waiter.Go(r.reap)
	return a
}

type asyncFile struct {
	osFile
	fd     int
	ring   *ring
	waiter sync.WaitGroup
	// users guards the descriptor: Close waits for reads that are under way.
	users  sync.RWMutex
	closed bool
}

// ReadAt implements io.ReaderAt.
func (f *asyncFile) ReadAt(p []byte, off int64) (int, error) {
	f.users.RLock()
	defer f.users.RUnlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	if len(p) == 0 || off < 0 {
		return f.osFile.ReadAt(p, off)
	}
	n, err := unix.Preadv2(f.fd, [][]byte{p}, off, unix.RWF_NOWAIT)
	if err != nil || n < 0 {
		n = 0 // not in the page cache, or a file system that cannot tell
	}
	if n < len(p) {
		n += f.ring.read(p[n:], off+int64(n))
	}
	if n < len(p) { // the end, an error, or no room: it says which
		more, err := f.osFile.ReadAt(p[n:], off+int64(n))
		return n + more, err
	}
	return n, nil
}

// Close implements io.Closer.
func (f *asyncFile) Close() error {
	f.users.Lock()
	defer f.users.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	err := f.ring.stop()
	f.waiter.Wait()
	return errors.Join(err, f.ring.unmap(), f.osFile.Close())
}

// ring is an io_uring for reads of one file. The kernel and it share memory:
//
//	entries      what to read; entry i belongs to request i, for as long as it is under way
//	submissions  numbers of entries; this side moves the tail, the kernel the head
//	completions  results; the kernel moves the tail, this side the head
type ring struct {
	fd, file int
	rings    []byte
	entries  []byte
	event    *os.File // readable when something has been completed
	eventFD  int

	mu       sync.Mutex // guards the tail of the submissions, and free
	free     []uint32
	requests [asyncReadsMax]request

	subTail, subMask, compHead, compTail, compMask *uint32
	subArray, completions                          unsafe.Pointer
}

// request is a read under way. buffer keeps its memory where it is for the kernel.
type request struct {
	buffer []byte
	result atomic.Int32  // atomic, since what orders two uses of a request is the kernel
	done   chan struct{} // holds one
}

func newRing(file int) (r *ring, err error) {
	var parameters [ringParametersLength / 4]uint32
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, asyncReadsMax, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno != 0 {
		return nil, errno
	}
	r = &ring{fd: int(fd), file: file, eventFD: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.unmap())
		}
	}()
	syscall.CloseOnExec(r.fd)
	if parameters[5]&ringFeatureOneMap == 0 || parameters[0] != asyncReadsMax {
		return r, errors.ErrUnsupported
	}
	sub, comp := parameters[10:20], parameters[20:30] // io_sqring_offsets, io_cqring_offsets
	length := max(sub[6]+parameters[0]*4, comp[5]+parameters[1]*ringCompletionBytes)
	if r.rings, err = syscall.Mmap(r.fd, ringOffsetRings, int(length), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return r, err
	}
	if r.entries, err = syscall.Mmap(r.fd, ringOffsetEntries, asyncReadsMax*ringEntryBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return r, err
	}
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.rings[off]) }
	r.subTail, r.subMask, r.subArray = (*uint32)(at(sub[1])), (*uint32)(at(sub[2])), at(sub[6])
	r.compHead, r.compTail, r.compMask, r.completions = (*uint32)(at(comp[0])), (*uint32)(at(comp[1])), (*uint32)(at(comp[2])), at(comp[5])
	if r.eventFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return r, err
	}
	r.event = os.NewFile(uintptr(r.eventFD), "io_uring")
	event := int32(r.eventFD)
	if _, _, errno := syscall.Syscall6(unix.SYS_IO_URING_REGISTER, fd, ringRegisterEventfd, uintptr(unsafe.Pointer(&event)), 1, 0, 0); errno != 0 {
		return r, errno
	}
	for i := range r.requests {
		r.requests[i].done = make(chan struct{}, 1)
		r.free = append(r.free, uint32(i))
	}
	return r, nil
}

// read reads into p and says how much; 0, too, for what it cannot do.
func (r *ring) read(p []byte, off int64) int {
	q := r.submit(p[:min(len(p), ringReadBytesMax)], off)
	if q == nil {
		return 0
	}
	<-q.done // as certain to come as the return of pread
	n := int(q.result.Load())
	q.buffer = nil
	r.mu.Lock()
	r.free = append(r.free, uint32((uintptr(unsafe.Pointer(q))-uintptr(unsafe.Pointer(&r.requests)))/unsafe.Sizeof(*q)))
	r.mu.Unlock()
	return max(n, 0)
}

// submit hands a read to the kernel; nil if there is no room.
func (r *ring) submit(p []byte, off int64) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		return nil
	}
	i := r.free[len(r.free)-1]
	q := &r.requests[i]
	q.buffer = p
	e := (*[ringEntryBytes / 8]uint64)(unsafe.Pointer(&r.entries[i*ringEntryBytes]))
	*e = [ringEntryBytes / 8]uint64{
		ringOpRead | uint64(uint32(r.file))<<32, uint64(off), uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))), uint64(len(p)), uint64(i),
	}
	tail := atomic.LoadUint32(r.subTail)
	*(*uint32)(unsafe.Add(r.subArray, 4*(tail&*r.subMask))) = i
	atomic.StoreUint32(r.subTail, tail+1)
	for {
		n, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 0, 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n != 1 {
			// It was not taken: take it back, which is safe as long as mu is held.
			atomic.StoreUint32(r.subTail, tail)
			q.buffer = nil
			return nil
		}
		r.free = r.free[:len(r.free)-1]
		return q
	}
}

// reap is the goroutine that waits for completions.
func (r *ring) reap() {
	var count [8]byte
	for {
		if _, err := io.ReadFull(r.event, count[:]); err != nil {
			return // it has been closed
		}
		head := atomic.LoadUint32(r.compHead)
		for tail := atomic.LoadUint32(r.compTail); head != tail; head++ {
			c := unsafe.Add(r.completions, ringCompletionBytes*(head&*r.compMask))
			q := &r.requests[*(*uint64)(c)]
			q.result.Store(*(*int32)(unsafe.Add(c, 8)))
			q.done <- struct{}{}
		}
		atomic.StoreUint32(r.compHead, head)
	}
}

// stop ends reap. No read is under way.
func (r *ring) stop() error { return r.event.Close() }

// unmap gives everything back.
func (r *ring) unmap() error {
	var errs []error
	for _, m := range [][]byte{r.rings, r.entries} {
		if m != nil {
			errs = append(errs, syscall.Munmap(m))
		}
	}
	if r.event != nil {
		_ = r.event.Close() // it may be closed already
	} else if r.eventFD >= 0 {
		errs = append(errs, syscall.Close(r.eventFD))
	}
	return errors.Join(append(errs, syscall.Close(r.fd))...)
}
