package purge

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// What a sweep does to the index. A target that was purged stays in it for as long
// as something may be stored, or on its way into the store, that the purge covers.
// Nobody counts these. A sweep compares everything stored with everything purged;
// each object notes with which version it was compared last (storage.Object.Checked),
// and what a soft purge covers is named to Retain. Then every purge up to a version F
// can be forgotten but for
//
//   - soft purges that were named, or are of a whole site or of all: they cover what is
//     there;
//   - one hard purge of everything at F. It covers what nobody has compared: an object
//     that the sweep missed, or a fill that began before F and lands after it. It
//     does not cover what has been compared with F or more, see cache.Engine.
//
// So nothing depends on a sweep having seen everything: what it missed is fetched
// once more.

// forgetPiece is how many targets are looked at before others have the index.
const forgetPiece = 2048

// errOtherLog says that a sweep was of another log's purges than those of now.
var errOtherLog = errors.New("the purge log was replaced meanwhile")

// isBroad says whether a hard purge of the scope is likely to leave much in the
// stores that is of no use.
func (s Scope) isBroad() bool {
	return s == ScopeAll || s == ScopeSite || s == ScopeHost || s == ScopePrefix
}

// beginSweep forgets what was retained for the sweep before.
func (x *Index) beginSweep() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.sites {
		s.retained = nil
	}
}

// Retain keeps the soft purges above an object's stamp that cover it from being
// forgotten by the sweep that runs.
func (x *Index) Retain(site, host, target string, tags []string, stamp uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sites[site]; s != nil {
		s.retain(x.seed, host, target, tags, stamp)
	}
}

// retain goes where siteIndex.covering goes.
func (s *siteIndex) retain(seed maphash.Seed, host, target string, tags []string, stamp uint64) {
	h, target := maphash.String(seed, host), matched(target)
	t := maphash.String(seed, target)
	s.retainIn(s.entries, stamp, entryKey(ScopeHost, h, 0), entryKey(ScopeURL, 0, t), entryKey(ScopeURL, h, t))
	for _, of := range s.prefixes {
		if of.length <= len(target) {
			p := maphash.String(seed, target[:of.length])
			s.retainIn(of.entries, stamp, entryKey(ScopePrefix, 0, p), entryKey(ScopePrefix, h, p))
		}
	}
	for _, tag := range tags {
		s.retainIn(s.entries, stamp, entryKey(ScopeTag, 0, maphash.String(seed, tag)))
	}
	for kind := range s.assets.kinds {
		for _, host := range [...]uint64{0, h} {
			if asset, _ := s.assets.assetOf(seed, kind, host, target); s.assets.newest[asset].soft > stamp {
				s.keepKey(uint64(asset))
			}
		}
	}
}

func (s *siteIndex) retainIn(entries map[uint64]versions, stamp uint64, keys ...uint64) {
	for _, k := range keys {
		if entries[k].soft > stamp {
			s.keepKey(k)
		}
	}
}

func (s *siteIndex) keepKey(k uint64) {
	if s.retained == nil {
		s.retained = make(map[uint64]struct{})
	}
	s.retained[k] = struct{}{}
}

func (s *siteIndex) isRetained(k uint64) bool {
	_, is := s.retained[k]
	return is
}

// forget takes out what a sweep of the log named has made needless, up to a
// version below the newest in force. It holds the lock for a piece at a time.
func (x *Index) forget(epoch string, version uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := *x.epoch.Load(); now != epoch || version >= x.applied.Load() {
		return fmt.Errorf("forget purges up to %d: %w", version, errOtherLog)
	}
	// First, so that nothing which goes is missed.
	x.floor.raise(at(ModeHard, version))
	x.swept = max(x.swept, version)
	for _, name := range slices.Collect(maps.Keys(x.sites)) {
		if s := x.sites[name]; s != nil {
			f := forgetting{x: x, site: name, s: s, folds: s.folds, version: version}
			f.all()
		}
	}
	return nil
}

// recall is forget for an index that a journal is read into.
func (x *Index) recall(version uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.floor.raise(at(ModeHard, version))
	x.swept = version
}

// forgetting is a site that is gone through. Index.mu is held, but for moments.
type forgetting struct {
	x       *Index
	site    string
	s       *siteIndex
	folds   int
	version uint64
	looked  int
}

func (f *forgetting) all() {
	s := f.s
	s.all, s.whole = f.rest(s.all, true), f.rest(s.whole, true)
	if s.newestTag <= f.version {
		s.newestTag = 0 // a fill that began before is older than the floor
	}
	whole := f.entries(s.entries)
	for i := len(s.prefixes) - 1; whole && i >= 0; i-- {
		i = min(i, len(s.prefixes)-1) // others may have come meanwhile
		of := s.prefixes[i]
		if whole = f.entries(of.entries); whole && len(of.entries) == 0 {
			s.prefixes = slices.DeleteFunc(s.prefixes, func(p prefixes) bool { return p.length == of.length })
		}
	}
	if whole && f.assets() && s.size() == 0 && s.all == (versions{}) && s.newestTag == 0 {
		delete(f.x.sites, f.site)
	}
}

// rest is what is left of the newest purges of something.
func (f *forgetting) rest(v versions, retained bool) versions {
	if v.hard <= f.version {
		v.hard = 0
	}
	if v.soft <= f.version && !retained {
		v.soft = 0
	}
	return v
}

// entries goes through some of the site's targets, and says whether these are
// still the site's at the end.
func (f *forgetting) entries(of map[uint64]versions) bool {
	for k, v := range of {
		switch rest := f.rest(v, f.s.isRetained(k)); rest {
		case v:
		case versions{}:
			delete(of, k)
			f.x.targets--
		default:
			of[k] = rest
		}
		if !f.breathe() {
			return false
		}
	}
	return true
}

// assets forgets an asset with all that was current of it, or nothing of it.
func (f *forgetting) assets() bool {
	a := &f.s.assets
	for k, v := range a.newest {
		if f.rest(v, f.s.isRetained(uint64(k))) == (versions{}) {
			delete(a.newest, k)
			f.x.targets--
		}
		if !f.breathe() {
			return false
		}
	}
	for k, v := range a.kept {
		if _, is := a.newest[v.asset]; !is {
			delete(a.kept, k)
			f.x.targets--
		}
		if !f.breathe() {
			return false
		}
	}
	if a.size() == 0 {
		a.kinds = nil
	}
	return true
}

// breathe lets others have the index once in a while. False: what was gone through
// is not the site's any more.
func (f *forgetting) breathe() bool {
	if f.looked++; f.looked%forgetPiece > 0 {
		return true
	}
	f.x.mu.Unlock()
	f.x.mu.Lock()
	return f.x.sites[f.site] == f.s && f.s.folds == f.folds
}

// needed gives what of a record, no newer than what was forgotten, the index still
// has in force: soft purges that were retained.
func (x *Index) needed(r Record) (Record, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if r.Version > x.swept {
		return r, true
	}
	if r.Mode == ModeHard {
		return r, false
	}
	return x.inForce(r)
}

// latest gives what of a record says more than later records do: the targets of
// which it is the newest purge of its mode.
func (x *Index) latest(r Record) (Record, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.inForce(r)
}

// inForce gives the targets of a record of which the index knows no newer purge of
// the same mode. mu is held.
func (x *Index) inForce(r Record) (Record, bool) {
	if r.Scope == ScopeAll {
		return r, x.floor.of(r.Mode) == r.Version
	}
	s := x.sites[r.Site]
	switch {
	case s == nil || x.floor.of(r.Mode) > r.Version || s.whole.of(r.Mode) > r.Version:
		return r, false
	case r.Scope == ScopeSite:
		return r, s.whole.of(r.Mode) == r.Version
	case r.Scope == ScopeAsset:
		return r, slices.ContainsFunc(r.Targets, func(t string) bool { return s.hasAsset(x.seed, &r, t) })
	}
	r.Targets = slices.DeleteFunc(slices.Clone(r.Targets), func(t string) bool { return !s.newest(x.seed, &r, t) })
	return r, len(r.Targets) > 0
}

// of is the version of one mode.
func (v versions) of(m Mode) uint64 {
	if m == ModeSoft {
		return v.soft
	}
	return v.hard
}

// newest says whether the purge of a target is the newest of its mode of one of the
// entries that it was put under.
func (s *siteIndex) newest(seed maphash.Seed, r *Record, target string) bool {
	in := func(k uint64) bool { return s.entries[k].of(r.Mode) == r.Version }
	switch r.Scope {
	case ScopeTag:
		return in(entryKey(ScopeTag, 0, maphash.String(seed, target))) || in(otherTags(seed))
	case ScopeHost:
		return in(entryKey(ScopeHost, maphash.String(seed, target), 0))
	}
	host, text := splitTarget(target)
	h := hostHash(seed, host)
	return slices.ContainsFunc(s.textsOf(text, r.Scope), func(text string) bool {
		text = matched(text)
		return in(entryKey(ScopeURL, h, maphash.String(seed, text))) || r.Scope == ScopePrefix && s.newestPrefix(seed, h, text, r)
	})
}

// newestPrefix is newest for a prefix. One that is not there as it is was cut to a
// shorter one, or to all, and what raised that since may cover something else.
func (s *siteIndex) newestPrefix(seed maphash.Seed, host uint64, text string, r *Record) bool {
	cut := s.all.of(r.Mode)
	for _, of := range s.prefixes {
		if of.length > len(text) {
			break
		}
		v := of.entries[entryKey(ScopePrefix, host, maphash.String(seed, text[:of.length]))].of(r.Mode)
		if of.length == len(text) && v >= r.Version {
			return v == r.Version
		}
		cut = max(cut, v)
	}
	return cut >= r.Version
}

// textsOf are the target as it is, and what a key policy makes of it, see applyURL
// and applyPrefix.
func (s *siteIndex) textsOf(text string, scope Scope) []string {
	if s.key == nil {
		return []string{text}
	}
	if scope == ScopeURL {
		return []string{text, s.key.Target(text)}
	}
	path, _, _ := strings.Cut(text, "?")
	return []string{text, path + "?", path}
}

// hasAsset says whether the index has a purge of this mode of a target's asset: then
// every record of it counts, since each says what was current.
func (s *siteIndex) hasAsset(seed maphash.Seed, r *Record, target string) (has bool) {
	kind := slices.IndexFunc(s.assets.kinds, r.Assets.equal)
	if kind < 0 { // there were too many kinds: it became one of all
		return s.all.of(r.Mode) >= r.Version
	}
	eachKeyed(s.key, target, func(host, text string) {
		asset, _ := s.assets.assetOf(seed, kind, hostHash(seed, host), text)
		has = has || s.assets.newest[asset].of(r.Mode) > 0
	})
	return has
}
