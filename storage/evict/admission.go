package evict

import (
	"fmt"
	"time"
)

// Admitted is what an Admission says of an object that a disk does not have.
type Admitted uint8

// The verdicts.
const (
	AdmittedFirst  Admitted = iota // written: all is written now
	AdmittedSecond                 // written: it was missed before
	RefusedFirst                   // not written: it was not missed before
	RefusedBudget                  // not written: too much has been written lately
)

// admittedNames is in the order of the constants.
var admittedNames = [...]string{"first-miss", "second-miss", "refused-first-miss", "refused-write-budget"}

// String gives the verdict's one name.
func (v Admitted) String() string {
	if int(v) < len(admittedNames) {
		return admittedNames[v]
	}
	return fmt.Sprintf("admitted(%d)", uint8(v))
}

// Written says whether the object is to be written.
func (v Admitted) Written() bool { return v == AdmittedFirst || v == AdmittedSecond }

// AdmissionOptions say what an Admission guards. The zero value works.
type AdmissionOptions struct {
	// BudgetBytes is the size of the disk's log. Default 1 GiB.
	BudgetBytes int64
	// WriteBytesPerSecondMax bounds what is written over time, what is written
	// again included: above it only second misses are, and a minute's worth
	// above it nothing is. Default 0: no bound.
	WriteBytesPerSecondMax int64
	// SeenKeysMax is how many missed keys are remembered at least, 2.5 bytes
	// of memory each. Default: one for 32 KiB of the budget, of 64 Ki to 64 Mi.
	SeenKeysMax int
}

const (
	admissionBudgetDefault = 1 << 30
	seenObjectBytes        = 32 << 10
	seenKeysMin            = 64 << 10
	seenKeysMost           = 64 << 20

	writeBurstSeconds = 60

	// To write all costs about three times the writes; it has to bring this
	// share more hits than to write second misses only.
	worthOfWriting = 0.01
)

func (o AdmissionOptions) withDefaults() AdmissionOptions {
	if o.BudgetBytes <= 0 {
		o.BudgetBytes = admissionBudgetDefault
	}
	if o.SeenKeysMax <= 0 {
		o.SeenKeysMax = int(min(max(o.BudgetBytes/seenObjectBytes, seenKeysMin), seenKeysMost))
	}
	return o
}

// Admission decides which misses are written to a disk whose log is a Ring.
//
// On a disk that holds much of what is asked for, an object written at its first
// miss is often still there when it is asked for again. On one that holds little,
// most of the log is then what nobody asks for twice, and to wait for the second
// miss keeps more of what is, at a third of the writes. Which of the two it is
// depends on the sites and changes with the hour. So both are played through,
// with a sample of the hashes and rings of the sample's size (rehearsal), and
// the disk does what brings more hits there. Until the ring has come round once
// there is nothing to lose, and all is written.
//
// It is pure: now is the caller's, and only its differences count. It does no
// locking.
type Admission struct {
	options AdmissionOptions
	seen    seen
	trial   duel
	all     bool    // what the duel said last
	debt    float64 // bytes written beyond the bound, as of at
	at      time.Duration
}

// NewAdmission makes an Admission.
func NewAdmission(o AdmissionOptions) *Admission {
	o = o.withDefaults()
	return &Admission{
		options: o, seen: newSeen(o.SeenKeysMax, o.BudgetBytes),
		trial: newDuel(o.BudgetBytes), all: true,
	}
}

// Hit says that the disk answered a request.
func (a *Admission) Hit(hash uint64, bytes int64) { a.trial.asked(hash, bytes) }

// Miss says that the disk could not answer a request, and gives the verdict on
// the object. Its size in bytes is as far as it is known. The caller reports
// with Wrote what it wrote.
func (a *Admission) Miss(hash uint64, bytes int64, now time.Duration) Admitted {
	a.trial.asked(hash, bytes)
	a.all = a.trial.allWins(a.all)
	before := a.seen.note(hash, bytes)
	behind := a.behind(now)
	switch {
	case behind > writeBurstSeconds*float64(a.options.WriteBytesPerSecondMax):
		return RefusedBudget
	case before:
		return AdmittedSecond
	case a.all && behind <= 0:
		return AdmittedFirst
	default:
		return RefusedFirst
	}
}

// Wrote counts bytes that were written, or written again.
func (a *Admission) Wrote(bytes int64, now time.Duration) {
	if a.options.WriteBytesPerSecondMax <= 0 {
		return
	}
	a.behind(now)
	a.debt += float64(bytes)
}

// behind is how many bytes have been written beyond what the bound allows by
// now. What was not used of it counts for a minute.
func (a *Admission) behind(now time.Duration) float64 {
	perSecond := float64(a.options.WriteBytesPerSecondMax)
	if perSecond == 0 {
		return 0
	}
	if now > a.at {
		a.debt = max(a.debt-(now-a.at).Seconds()*perSecond, -writeBurstSeconds*perSecond)
		a.at = now
	}
	return a.debt
}
