package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// failure says how a read got no content.
type failure string

// The failures.
const (
	noAnswer   failure = "no answer"         // no connection, or it broke before the header
	tooLate    failure = "timed out"         // nothing, or not all, within readTimeout
	refusal    failure = "error status"      // 502, 503, 504
	brokenBody failure = "broken body"       // and the client could see it: the stream was reset, before its header had left or after
	unexpected failure = "unexpected answer" // any other status
)

// failed is one such read.
type failed struct {
	pop      string
	failure  failure
	from, to time.Time
	what     string // for who reads the summary
	// replaced says that it got the beginning of a part of what the origin does not
	// have any more: the next block is of other content, and cannot follow.
	replaced bool
}

// cause names the fault that explains a failed read, or gives "". It knows what
// weir promises to hide: one shield that is gone, a slow origin, a log that is
// away (save when nodes are to refuse then) explain no error.
func (w *world) cause(f failed) string {
	during := w.ledger.during(f.from, f.to, settleTime)
	if own := first(during, func(x fault) bool { return x.node == f.pop && x.stopsProcess() }); own != "" {
		return own
	}
	if f.failure != refusal && f.failure != brokenBody {
		return ""
	}
	if cause := first(during, func(x fault) bool { return x.kind == originBad || x.kind == originDrop }); cause != "" {
		return cause
	}
	if w.allShields(during, func(shield string, x fault) bool { return x.gone(f.pop, shield) }) {
		return "no shield was there"
	}
	if f.failure == refusal {
		return w.refused(f)
	}
	if f.replaced {
		return "replaced between two blocks"
	}
	// What has been sent cannot be taken back and asked of another shield.
	cause := first(during, func(x fault) bool {
		return slices.ContainsFunc(w.shields, func(s *child) bool { return x.gone(f.pop, s.name) })
	})
	return cmp.Or(cause, w.refused(f))
}

// refused explains a 503, or a body of which a part was answered so, of a node that is to refuse while it is cut off.
func (w *world) refused(f failed) string {
	if w.lagging != "refuse" {
		return ""
	}
	during := w.ledger.during(f.from, f.to, catchUpTime)
	cutOff := func(node string, x fault) bool {
		return x.node == controlName || x.node == node && (x.breaksLog() || x.stopsProcess()) || x.kind == cornered && x.peer == node
	}
	if own := first(during, func(x fault) bool { return cutOff(f.pop, x) }); own != "" {
		return own
	}
	if w.allShields(during, func(shield string, x fault) bool { return cutOff(shield, x) || x.gone(f.pop, shield) }) {
		return "every shield was cut off from the log"
	}
	return ""
}

// stopsProcess says that the fault's node is not there for a while.
func (f fault) stopsProcess() bool {
	return slices.Contains([]kind{killed, paused, restarted, ambushed, cornered}, f.kind)
}

func (f fault) breaksLog() bool {
	return slices.Contains([]kind{logCut, logSilent, logSlow, ambushed}, f.kind)
}

// gone says that the fault takes a shield from a PoP.
func (f fault) gone(pop, shield string) bool {
	return f.node == shield && f.stopsProcess() ||
		f.node == pop && f.peer == shield && (f.kind == wayCut || f.kind == waySilent)
}

// allShields says whether of every shield one of the faults is what is asked.
func (w *world) allShields(during []fault, is func(shield string, x fault) bool) bool {
	for _, s := range w.shields {
		if !slices.ContainsFunc(during, func(x fault) bool { return is(s.name, x) }) {
			return false
		}
	}
	return true
}

func first(faults []fault, is func(fault) bool) string {
	if i := slices.IndexFunc(faults, is); i >= 0 {
		return faults[i].String()
	}
	return ""
}

func (f failed) String() string {
	return fmt.Sprintf("%s at %s, from %s to %s: %s", f.failure, f.pop, f.from.Format(clock), f.to.Format(clock), f.what)
}

const clock = "15:04:05.000"
