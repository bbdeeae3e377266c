package disk

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"weir/storage"
)

const (
	// walkStepsMax bounds the regions that one call of Walk reads the footers of.
	walkStepsMax = 8
	// walkCopiesMax bounds the records that are copied under the log's lock.
	walkCopiesMax = 1024
)

// walkPlace is where a walk goes on: with the records before index, of the newest
// region whose turn is no higher than turn.
type walkPlace struct {
	member int
	turn   uint64
	index  int
}

func (p walkPlace) String() string { return fmt.Sprintf("%d.%d.%d", p.member, p.turn, p.index) }

func parseWalkPlace(text string) (p walkPlace, err error) {
	if text == "" {
		return firstPlace(0), nil
	}
	n, err := fmt.Sscanf(text, "%d.%d.%d", &p.member, &p.turn, &p.index)
	if err != nil || n != 3 || p.member < 0 || p.index < 0 || p.String() != text {
		return p, fmt.Errorf("%.64q is no place to go on at", text)
	}
	return p, nil
}

func firstPlace(member int) walkPlace { return walkPlace{member, math.MaxUint64, math.MaxInt} }

// walkCache keeps what was read last for a walk, the footer of one region, since
// the next piece most often goes on there.
type walkCache struct {
	mu      sync.Mutex // guards what follows
	region  *region
	first   uint64 // sequence, which says in which life of the region it was read
	entries []footerEntry
}

// Walk gives the keys of what is stored, directory by directory and the newest
// first, piece by piece: the first piece for "", and each further one for what the
// piece before it gave as next, which is "" after the last. A piece has at most
// keysMax keys, and may have none. What stays where it is all the while is given
// once; what comes or goes meanwhile may be missing, and what is written again may
// be given twice.
func (s *Store) Walk(after string, keysMax int) (keys []storage.Key, next string, err error) {
	at, err := parseWalkPlace(after)
	if err != nil {
		return nil, "", fmt.Errorf("disk: walk: %w", err)
	}
	for range walkStepsMax {
		if at.member >= len(s.members) {
			s.walked.forget()
			return keys, "", nil
		}
		v := s.members[at.member].volume
		if v == nil {
			at = firstPlace(at.member + 1)
			continue
		}
		if err := v.usable(); errors.Is(err, storage.ErrClosed) {
			return nil, "", err
		}
		keys, at = v.walkStep(&s.walked, keys, at, keysMax)
		if len(keys) >= keysMax {
			break
		}
	}
	return keys, at.String(), nil
}

// walkStep goes back through some of the records before a place.
func (v *volume) walkStep(read *walkCache, keys []storage.Key, at walkPlace, keysMax int) ([]storage.Key, walkPlace) {
	region, entries, lowest, at := v.entriesBefore(read, at)
	if region == nil {
		return keys, firstPlace(at.member + 1)
	}
	for at.index > lowest && len(keys) < keysMax {
		at.index--
		if e := &entries[at.index-lowest]; v.isMain(region.id, e) {
			keys = append(keys, e.key)
		}
	}
	if at.index == 0 {
		at = at.older()
	}
	return keys, at
}

// older goes on with the regions before this one.
func (p walkPlace) older() walkPlace {
	if p.turn == 0 {
		return firstPlace(p.member + 1)
	}
	return walkPlace{p.member, p.turn - 1, math.MaxInt}
}

// entriesBefore gives records before a place, the last of them before where is,
// which is that place or where the next region ends, and the first of them with
// the number lowest. No region: there are no more. One that cannot be read has nothing.
func (v *volume) entriesBefore(read *walkCache, at walkPlace) (newest *region, entries []footerEntry, lowest int, where walkPlace) {
	v.mu.Lock()
	for _, r := range v.ring {
		if r.turn <= at.turn && (newest == nil || r.turn > newest.turn) {
			newest = r
		}
	}
	if c := v.current; c != nil && c.turn <= at.turn && (newest == nil || c.turn > newest.turn) {
		newest, entries = c, v.entries
	}
	if newest == nil {
		v.mu.Unlock()
		return nil, nil, 0, at
	}
	if newest.turn < at.turn {
		at.turn, at.index = newest.turn, math.MaxInt
	}
	for _, w := range v.queue {
		if w.seal == newest { // its footer is not written yet
			entries = w.entries
		}
	}
	first, inMemory := newest.firstSequence.Load(), newest == v.current || entries != nil
	if inMemory { // it can be very many, and grows on
		at.index = min(at.index, len(entries))
		lowest = max(0, at.index-walkCopiesMax)
		entries = slices.Clone(entries[lowest:at.index])
	}
	v.mu.Unlock()
	if !inMemory {
		entries = read.get(v, newest, first)
		at.index = min(at.index, len(entries))
	}
	return newest, entries, lowest, at
}

// get gives what is in a sealed region.
func (c *walkCache) get(v *volume, r *region, first uint64) []footerEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.region == r && c.first == first {
		return c.entries
	}
	entries, _, err := v.reader().entries(r.id, first)
	if err != nil {
		v.failed(err)
		return nil
	}
	c.region, c.first, c.entries = r, first, entries
	return entries
}

func (c *walkCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.region, c.entries = nil, nil
}

// isMain says whether a record is what is found under its key.
func (v *volume) isMain(region uint32, e *footerEntry) bool {
	if e.kind != kindObject && e.kind != kindHead {
		return false
	}
	found := v.index.get(fingerprintOf(e.key))
	return found != 0 && found.kind() == e.kind && found.place() == place{region: region, unit: e.unit}
}

// Look is Get for somebody who only wants to see: it is no use of the object. One
// that cannot be read is dropped, as by Get; the error says why.
func (s *Store) Look(k storage.Key) (storage.Object, error) {
	v := s.volumeOf(k)
	if v == nil {
		return nil, storage.ErrNotFound
	}
	for range openTriesMax {
		o, err := v.openOnce(k)
		switch {
		case err == nil:
			return o, nil
		case errors.Is(err, errChanged):
			continue
		case o != nil && !errors.Is(err, storage.ErrNotFound):
			v.drop(k, o.entry, err)
		}
		return nil, fmt.Errorf("disk: look at %s: %w", k, err)
	}
	return nil, storage.ErrNotFound
}
