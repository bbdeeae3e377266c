package cache

import (
	"sync"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// unsharedMax bounds the keys that are remembered as not shared.
const unsharedMax = 1 << 16

// unshared remembers keys whose responses proved unfit to be shared. Requests
// for such a key do not wait for one another: each has a fill of its own, which
// stores what it brings if that has become fit meanwhile (hit-for-miss).
type unshared struct {
	lifetime time.Duration

	// mu guards until. Nothing blocks under it.
	mu    sync.Mutex
	until map[storage.Key]time.Time
}

func newUnshared(lifetime time.Duration) *unshared {
	return &unshared{lifetime: lifetime, until: make(map[storage.Key]time.Time)}
}

// has says whether the key is remembered at now.
func (u *unshared) has(k storage.Key, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, found := u.until[k]
	if found && !now.Before(until) {
		delete(u.until, k)
		return false
	}
	return found
}

// add remembers a key. When there is no room, some other key is forgotten: at
// worst its next requests wait for one another once.
func (u *unshared) add(k storage.Key, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.until) >= unsharedMax {
		for other := range u.until {
			delete(u.until, other)
			break
		}
	}
	u.until[k] = now.Add(u.lifetime)
}

// remove forgets a key: its response was stored.
func (u *unshared) remove(k storage.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.until, k)
}

// provesUnshared says whether a refusal is about the response, and so about the
// next request for the key as well. What one request said of itself is not, nor
// is a server's error.
func provesUnshared(v rfc9111.StoreVerdict, status int) bool {
	switch v {
	case rfc9111.RefusedNoStore, rfc9111.RefusedPrivate, rfc9111.RefusedSetCookie, rfc9111.RefusedVaryStar, rfc9111.RefusedNoFreshness:
		return status < 500
	default:
		return false
	}
}
