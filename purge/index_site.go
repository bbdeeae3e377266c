package purge

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"

	"weir/cache/rfc9111"
)

// versions are the newest purges that cover something; 0 is none.
type versions struct{ hard, soft uint64 }

// raise takes over what is newer in other.
func (v *versions) raise(other versions) {
	v.hard = max(v.hard, other.hard)
	v.soft = max(v.soft, other.soft)
}

// at is the versions of one purge alone.
func at(mode Mode, version uint64) versions {
	if mode == ModeSoft {
		return versions{soft: version}
	}
	return versions{hard: version}
}

// siteIndex is what has been purged of one site. Index.mu guards it.
type siteIndex struct {
	all       versions
	whole     versions // those of all that were asked for as such
	newestTag uint64
	// entries maps the hash of a scope and target to its newest purges. Where
	// two targets share a 64-bit hash, each purges the other too, which is
	// safe. Hashes in place of texts keep a target at some 50 bytes, and the
	// map free of pointers that the garbage collector would follow.
	entries map[uint64]versions
	// key is the site's key policy; nil if it has none.
	key *rfc9111.KeyPolicy
	// prefixes are by the distinct lengths of prefixes, without their host,
	// ascending, so that a look-up probes for the lengths that there are.
	prefixes []prefixes
	// assets are the purges of scope asset.
	assets siteAssets
	// retained are the entries, prefixes and assets that cover, softly, something
	// stored: as a sweep has found since it began. See Index.Retain.
	retained map[uint64]struct{}
	folds    int // how often fold was called
}

// prefixes are the purges of prefixes of one length, like siteIndex.entries.
type prefixes struct {
	length  int // in bytes
	entries map[uint64]versions
}

// size is what the site counts against IndexOptions.TargetsMax.
func (s *siteIndex) size() int {
	n := len(s.entries) + s.assets.size()
	for i := range s.prefixes {
		n += len(s.prefixes[i].entries)
	}
	return n
}

// entryKey is the hash of one target. host is 0 where it covers every host.
func entryKey(scope Scope, host, text uint64) uint64 {
	// One multiplication over both halves, as wyhash folds them. The factors
	// are odd and arbitrary; the hashes themselves are seeded.
	hi, lo := bits.Mul64(host^0xa0761d6478bd642f^uint64(scope), text^0xe7037ed1a0b428db)
	return hi ^ lo
}

// covering raises v by every purge that covers the object.
func (s *siteIndex) covering(seed maphash.Seed, host, target string, tags []string, v *versions) {
	v.raise(s.all)
	if len(s.entries) == 0 && len(s.prefixes) == 0 && len(s.assets.newest) == 0 {
		return
	}
	h := maphash.String(seed, host)
	v.raise(s.entries[entryKey(ScopeHost, h, 0)])
	target = matched(target)
	t := maphash.String(seed, target)
	v.raise(s.entries[entryKey(ScopeURL, 0, t)])
	v.raise(s.entries[entryKey(ScopeURL, h, t)])
	for i := range s.prefixes {
		of := &s.prefixes[i]
		if of.length > len(target) {
			break
		}
		p := maphash.String(seed, target[:of.length])
		v.raise(of.entries[entryKey(ScopePrefix, 0, p)])
		v.raise(of.entries[entryKey(ScopePrefix, h, p)])
	}
	for _, tag := range tags {
		v.raise(s.entries[entryKey(ScopeTag, 0, maphash.String(seed, tag))])
	}
	s.assets.covering(seed, h, target, t, v)
}

// apply takes one record in.
func (s *siteIndex) apply(seed maphash.Seed, r *Record, lengthsMax int) {
	purged := at(r.Mode, r.Version)
	switch r.Scope {
	case ScopeSite, ScopeAll:
		s.all.raise(purged)
		s.whole.raise(purged)
	case ScopeTag:
		s.newestTag = max(s.newestTag, r.Version)
		s.raise(otherTags(seed), purged)
		for _, tag := range r.Targets {
			s.raise(entryKey(ScopeTag, 0, maphash.String(seed, tag)), purged)
		}
	case ScopeHost:
		for _, host := range r.Targets {
			s.raise(entryKey(ScopeHost, maphash.String(seed, host), 0), purged)
		}
	case ScopeURL:
		for _, t := range r.Targets {
			s.applyURL(seed, t, purged)
		}
	case ScopePrefix:
		for _, t := range r.Targets {
			s.applyPrefix(seed, t, purged, lengthsMax)
		}
	case ScopeAsset:
		if !s.assets.apply(seed, r, s.key) {
			s.all.raise(purged)
		}
	}
}

// otherTags is the entry of what has more tags than are kept: each purge of a tag
// may be one of these.
func otherTags(seed maphash.Seed) uint64 {
	return entryKey(ScopeTag, 0, maphash.String(seed, rfc9111.OtherTags))
}

// applyURL covers the target as it is, and the target of the key under which
// answers to it are stored. Both, since objects can be older than the policy.
func (s *siteIndex) applyURL(seed maphash.Seed, target string, purged versions) {
	host, text := splitTarget(target)
	s.raise(entryKey(ScopeURL, hostHash(seed, host), maphash.String(seed, matched(text))), purged)
	if s.key == nil {
		return
	}
	if keyed := s.key.Target(text); keyed != text {
		s.raise(entryKey(ScopeURL, hostHash(seed, host), maphash.String(seed, matched(keyed))), purged)
	}
}

func (s *siteIndex) raise(key uint64, purged versions) { raiseIn(s.entries, key, purged) }

func raiseIn(entries map[uint64]versions, key uint64, purged versions) {
	v := entries[key]
	v.raise(purged)
	entries[key] = v
}

// hostHash is 0 for the empty host, which covers all.
func hostHash(seed maphash.Seed, host string) uint64 {
	if host == "" {
		return 0
	}
	return maphash.String(seed, host)
}

// applyPrefix covers the prefix as it is. Where the key policy rewrites queries,
// nobody can say what is left of the queries that begin like the prefix's: then
// the path is covered with every query, and with none.
func (s *siteIndex) applyPrefix(seed maphash.Seed, target string, purged versions, lengthsMax int) {
	host, text := splitTarget(target)
	s.raisePrefix(seed, host, text, purged, lengthsMax)
	path, _, hasQuery := strings.Cut(text, "?")
	if s.key != nil && s.key.RewritesQuery() && hasQuery {
		s.raisePrefix(seed, host, path+"?", purged, lengthsMax)
		s.raise(entryKey(ScopeURL, hostHash(seed, host), maphash.String(seed, matched(path))), purged)
	}
}

func (s *siteIndex) raisePrefix(seed maphash.Seed, host, text string, purged versions, lengthsMax int) {
	text = matched(text)
	i, present := slices.BinarySearchFunc(s.prefixes, len(text), func(p prefixes, n int) int { return p.length - n })
	switch {
	case present:
	case len(s.prefixes) < lengthsMax:
		s.prefixes = slices.Insert(s.prefixes, i, prefixes{len(text), make(map[uint64]versions)})
	case i == 0:
		// No shorter length to cut to: every path is covered.
		s.all.raise(purged)
		return
	default:
		// A shorter prefix covers all that the longer one does, and more.
		i--
		text = text[:s.prefixes[i].length]
	}
	raiseIn(s.prefixes[i].entries, entryKey(ScopePrefix, hostHash(seed, host), maphash.String(seed, text)), purged)
}

// fold forgets every target and keeps one hard purge of all in their place.
func (s *siteIndex) fold(version uint64) {
	s.folds++
	s.all.raise(versions{hard: version})
	s.entries = make(map[uint64]versions)
	s.prefixes = nil
	s.assets = siteAssets{}
}
