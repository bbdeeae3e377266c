package purge

import (
	"hash/maphash"
	"slices"

	"weir/cache/rfc9111"
)

// siteAssets is what purges of scope asset have covered of one site. An object
// is covered by the newest purge of its asset that did not name it as current:
//
//	newest   asset                     the newest purge of it
//	kept     asset and current target  the newest purge that named the target, and what had
//	                                   covered the target before: once the two are the same
//	                                   purge, that is the answer
//
// Naming a target again under the next purge moves only the first of the two, so
// that memory grows with the number of assets and current targets, and not with
// the number of purges.
type siteAssets struct {
	newest map[assetKey]versions
	kept   map[uint64]keptTarget
	// kinds are the different Assets that purges came with; an object is
	// reduced once by each.
	kinds []*Assets
	// check is the seed of keptTarget.check.
	check maphash.Seed
}

// assetKindsMax bounds siteAssets.kinds. A policy changes rarely; a purge under
// one more covers the whole site.
const assetKindsMax = 4

// assetKey is the hash of an asset, of the host that it is purged on (0 for all)
// and of the kind under which it was found.
type assetKey uint64

// keptTarget is a target that purges have named as current.
type keptTarget struct {
	// asset tells two targets of one hash apart: here a collision would keep
	// what was purged, and not purge what was kept.
	asset assetKey
	check uint64
	// at is the newest purge that named it, before what covered it until then.
	at, before versions
}

func (s *siteAssets) size() int { return len(s.newest) + len(s.kept) }

// kind gives the number of a kind, and false when there are too many.
func (s *siteAssets) kind(a *Assets) (int, bool) {
	i := slices.IndexFunc(s.kinds, a.equal)
	if i >= 0 {
		return i, true
	}
	if len(s.kinds) == assetKindsMax {
		return 0, false
	}
	s.kinds = append(s.kinds, a)
	return len(s.kinds) - 1, true
}

// apply takes one record in, and says whether there was room for its kind.
func (s *siteAssets) apply(seed maphash.Seed, r *Record, key *rfc9111.KeyPolicy) bool {
	kind, room := s.kind(r.Assets)
	if !room {
		return false
	}
	if s.newest == nil {
		s.newest, s.kept, s.check = make(map[assetKey]versions), make(map[uint64]keptTarget), maphash.MakeSeed()
	}
	// First what stays, as long as what had covered it is still known.
	for _, t := range r.Targets {
		eachKeyed(key, t, func(host, text string) { s.keep(seed, r, kind, host, text) })
	}
	purged := at(r.Mode, r.Version)
	for _, t := range r.Targets {
		eachKeyed(key, t, func(host, text string) {
			asset, _ := s.assetOf(seed, kind, hostHash(seed, host), text)
			newest := s.newest[asset]
			newest.raise(purged)
			s.newest[asset] = newest
		})
	}
	return true
}

// eachKeyed gives a canonical target as it is, and as the key of what is stored
// for it has it, in the form of matched.
func eachKeyed(key *rfc9111.KeyPolicy, target string, each func(host, text string)) {
	host, text := splitTarget(target)
	each(host, matched(text))
	if key == nil {
		return
	}
	if keyed := key.Target(text); keyed != text {
		each(host, matched(keyed))
	}
}

// keep notes that a target was named as current. A URL without a version names
// its asset alone: what it answers changes, so that it is never current.
func (s *siteAssets) keep(seed maphash.Seed, r *Record, kind int, host, text string) {
	h := hostHash(seed, host)
	asset, versioned := s.assetOf(seed, kind, h, text)
	if !versioned {
		return
	}
	slot, check := keptSlot(asset, maphash.String(seed, text)), maphash.String(s.check, text)
	k, newest, purged := s.kept[slot], s.newest[asset], at(r.Mode, r.Version)
	if k.asset != asset || k.check != check {
		k = keptTarget{asset: asset, check: check}
	}
	if k.at.hard == purged.hard && purged.hard > 0 || k.at.soft == purged.soft && purged.soft > 0 {
		return // named twice
	}
	// Where the newest purge did not name it, that one covers it.
	if k.at.hard != newest.hard {
		k.before.hard = newest.hard
	}
	if k.at.soft != newest.soft {
		k.before.soft = newest.soft
	}
	k.at = newest
	k.at.raise(purged)
	s.kept[slot] = k
}

// covering raises v by every purge of an asset that covers the object. host and
// hash are the hashes of its host and of its target, which is in the form of
// matched.
func (s *siteAssets) covering(seed maphash.Seed, host uint64, target string, hash uint64, v *versions) {
	for kind := range s.kinds {
		for _, h := range [...]uint64{0, host} {
			asset, versioned := s.assetOf(seed, kind, h, target)
			newest, purged := s.newest[asset]
			if !purged {
				continue
			}
			if versioned {
				newest = s.without(newest, asset, hash, target)
			}
			v.raise(newest)
		}
	}
}

// without gives what is left of the newest purges of an asset for a target that
// the newest may have named as current.
func (s *siteAssets) without(newest versions, asset assetKey, hash uint64, target string) versions {
	k, named := s.kept[keptSlot(asset, hash)]
	if !named || k.asset != asset || k.check != maphash.String(s.check, target) {
		return newest
	}
	if k.at.hard == newest.hard {
		newest.hard = k.before.hard
	}
	if k.at.soft == newest.soft {
		newest.soft = k.before.soft
	}
	return newest
}

// assetOf gives the key of the asset that a target is a version of.
func (s *siteAssets) assetOf(seed maphash.Seed, kind int, host uint64, target string) (_ assetKey, versioned bool) {
	var short [256]byte // on the stack: most targets fit
	asset, versioned := s.kinds[kind].appendAsset(short[:0], target)
	return assetKey(entryKey(ScopeAsset, host+uint64(kind), maphash.Bytes(seed, asset))), versioned
}

// keptSlot is where a target of an asset has its place.
func keptSlot(asset assetKey, target uint64) uint64 {
	return entryKey(ScopeAsset, uint64(asset), target)
}
