package disk

import (
	"encoding/binary"
	"sync"
	"time"

	"weir/storage"
	"weir/storage/evict"
)

// admission asks evict.Admission which misses are worth a write. Nil writes all.
type admission struct {
	started time.Time
	mu      sync.Mutex // guards rule
	rule    *evict.Admission
}

func newAdmission(o Options, budgetBytes int64) *admission {
	if o.AdmitAll {
		return nil
	}
	return &admission{started: time.Now(), rule: evict.NewAdmission(evict.AdmissionOptions{
		BudgetBytes: budgetBytes, WriteBytesPerSecondMax: o.WriteBytesPerSecondMax,
	})}
}

// hashOf is some 64 bits of a key.
func hashOf(k storage.Key) uint64 { return binary.LittleEndian.Uint64(k[4:]) }

// admits gives the verdict on an object that was missed; a negative length is
// not known yet.
func (a *admission) admits(k storage.Key, bytes int64) bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rule.Miss(hashOf(k), max(bytes, unitBytes), time.Since(a.started)).Written()
}

// hit counts what the directory answered.
func (a *admission) hit(k storage.Key, bytes int64) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rule.Hit(hashOf(k), max(bytes, unitBytes))
}

// wrote counts what was written, or written again.
func (a *admission) wrote(bytes int64) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rule.Wrote(bytes, time.Since(a.started))
}
