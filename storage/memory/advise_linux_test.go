//go:build !race

package memory

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"weir/storage/internal/pages"
)

// The arena asks for huge pages wherever a whole one is its own, and for small
// ones behind that: a huge one there would be more than the budget counts.
func TestHugePagesWithinTheArena(t *testing.T) {
	for _, segments := range []int{1, 2, 3, 4, 5} {
		var m mappings
		arena := m.segment(segments)
		start := uintptr(unsafe.Pointer(unsafe.SliceData(arena)))
		if start%pages.HugeBytes != 0 {
			t.Errorf("%d segments begin at %#x, within a huge page", segments, start)
		}
		huge := uintptr(segments-1) * segmentBytes &^ (pages.HugeBytes - 1)
		for offset := uintptr(0); offset < uintptr(segments)*segmentBytes; offset += segmentBytes {
			want := "nh"
			if offset < huge {
				want = "hg"
			}
			if flags := adviceAt(t, start+offset); flags != "" && !strings.Contains(flags, want) {
				t.Errorf("%d segments, at %#x: flags %q, want %s", segments, offset, flags, want)
			}
		}
		m.unmap()
	}
}

// What is given back does not come to be part of a huge page again.
func TestReleasedStaysSmall(t *testing.T) {
	var m mappings
	defer m.unmap()
	arena := m.segment(5)
	release(arena[4096:8192])
	start := uintptr(unsafe.Pointer(unsafe.SliceData(arena)))
	if flags := adviceAt(t, start+4096); flags != "" && !strings.Contains(flags, "nh") {
		t.Errorf("flags %q, want nh", flags)
	}
}

// adviceAt gives what the system notes of the mapping that holds an address; ""
// if it knows no huge pages.
func adviceAt(t *testing.T, address uintptr) string {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		return ""
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			inside = from <= address && address < to
		}
		if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && inside {
			return flags
		}
	}
	t.Fatalf("no mapping holds %#x", address)
	return ""
}
