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

	// mu guards keys. Nothing blocks under it.
	mu   sync.Mutex
	keys map[storage.Key]refusal
}

// refusal is why a key is remembered, and until when.
type refusal struct {
	until   time.Time
	why     Reason
	verdict rfc9111.StoreVerdict // for ReasonUncacheable
	// authorized says that the request had Authorization. What is private then
	// may be public for who has none, whose requests wait for one another as ever.
	authorized bool
}

// concerns says whether the refusal holds for a request with these fields.
func (r refusal) concerns(req rfc9111.Fields) bool {
	return (!r.authorized || authorized(req)) && (r.ofWhole() || len(req.Values("Range")) > 0)
}

func authorized(req rfc9111.Fields) bool { return len(req.Values("Authorization")) > 0 }

// ofWhole says whether the refusal holds for a request for the whole as well,
// and not only for parts.
func (r refusal) ofWhole() bool {
	return r.why != ReasonPartial && r.verdict != rfc9111.RefusedPartial
}

func newUnshared(lifetime time.Duration) *unshared {
	return &unshared{lifetime: lifetime, keys: make(map[storage.Key]refusal)}
}

// has says whether the key is remembered at now, for a request with these fields.
func (u *unshared) has(k storage.Key, now time.Time, req rfc9111.Fields) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, found := u.keys[k]
	if found && !now.Before(r.until) {
		delete(u.keys, k)
		return false
	}
	return found && r.concerns(req)
}

// peek gives what is remembered of the key at now, for a request with these
// fields, and forgets nothing.
func (u *unshared) peek(k storage.Key, now time.Time, req rfc9111.Fields) (r refusal, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, found = u.keys[k]
	return r, found && now.Before(r.until) && r.concerns(req)
}

// add remembers a key until lifetime has passed since now. When there is no room,
// some other key is forgotten: at worst its next requests wait for one another once.
func (u *unshared) add(k storage.Key, now time.Time, r refusal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, found := u.keys[k]
	if found && r.authorized && !before.authorized && now.Before(before.until) {
		return // what is known says more
	}
	if !found && len(u.keys) >= unsharedMax {
		for other := range u.keys {
			delete(u.keys, other)
			break
		}
	}
	r.until = now.Add(u.lifetime)
	u.keys[k] = r
}

// remove forgets a key: its response was stored.
func (u *unshared) remove(k storage.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.keys, k)
}

// provesUnshared says whether a refusal is about the response, and so about the
// next request for the key as well, or the next with Authorization. What else one
// request said of itself is not, nor is a server's error.
func provesUnshared(v rfc9111.StoreVerdict, status int) bool {
	switch v {
	case rfc9111.RefusedNoStore, rfc9111.RefusedPrivate, rfc9111.RefusedAuthorization, rfc9111.RefusedSetCookie, rfc9111.RefusedVaryStar, rfc9111.RefusedNoFreshness:
		return status < 500
	default:
		return false
	}
}
