package disk

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"weir/storage"
)

// State says whether a directory is in service.
type State uint8

// The states, each worse than the one before. Only a restart leads back from
// StateOffline.
const (
	StateOnline  State = iota // works
	StateFailing              // has failed lately; is used nevertheless
	StateOffline              // out of service: nothing is looked up or written
)

// String gives the state's one name, as in metrics and /healthz.
func (s State) String() string {
	switch s {
	case StateOnline:
		return "online"
	case StateFailing:
		return "failing"
	case StateOffline:
		return "offline"
	default:
		return fmt.Sprintf("state(%d)", uint8(s))
	}
}

// Health is the condition of one directory.
type Health struct {
	Dir       string
	Device    string // "": none
	State     State
	Errors    int64 // calls of the file system that failed, since opening
	LastError error // nil: none
}

const (
	// failingFor is how long one error is held against a directory.
	failingFor = time.Minute
	// errorsMax in a row, each within failingFor of the one before, take it
	// out of service.
	errorsMax = 16
)

// health judges a directory by its errors. The zero value is online.
type health struct {
	mu      sync.Mutex // guards what follows
	row     int        // errors, each within failingFor of the one before
	at      time.Time  // of the last one
	errors  int64
	last    error
	offline bool
}

// note counts an error and says whether it was the one too many.
func (h *health) note(err error, now time.Time) (offlineNow bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.at) > failingFor {
		h.row = 0
	}
	h.row++
	h.errors++
	h.at, h.last = now, err
	if h.offline || h.row < errorsMax {
		return false
	}
	h.offline = true
	return true
}

func (h *health) report(dir string, now time.Time) Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Health{Dir: dir, Errors: h.errors, LastError: h.last}
	switch {
	case h.offline:
		r.State = StateOffline
	case h.row > 0 && now.Sub(h.at) <= failingFor:
		r.State = StateFailing
	}
	return r
}

// isFull says that there is no space left, which is no fault of the disk.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// isFault says whether an error is one that a disk is to be blamed for.
func isFault(err error) bool {
	for _, not := range []error{
		storage.ErrCorrupt, storage.ErrNotFound, storage.ErrFull, storage.ErrTooLarge, storage.ErrClosed,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, not) {
			return false
		}
	}
	return err != nil && !isFull(err)
}
