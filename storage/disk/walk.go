package disk

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"weir/storage"
)

// walkRegionsMax bounds the regions that one call of Walk reads the footers of.
const walkRegionsMax = 8

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
	for range walkRegionsMax {
		if at.member >= len(s.members) {
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
		region, turn, entries := v.entriesUpTo(at.turn)
		if region == nil {
			at = firstPlace(at.member + 1)
			continue
		}
		if turn < at.turn {
			at.turn, at.index = turn, math.MaxInt
		}
		for at.index = min(at.index, len(entries)); at.index > 0 && len(keys) < keysMax; {
			at.index--
			if v.isMain(region.id, &entries[at.index]) {
				keys = append(keys, entries[at.index].key)
			}
		}
		if at.index == 0 {
			at = at.older()
		}
		if len(keys) >= keysMax {
			break
		}
	}
	return keys, at.String(), nil
}

// older goes on with the regions before this one.
func (p walkPlace) older() walkPlace {
	if p.turn == 0 {
		return firstPlace(p.member + 1)
	}
	return walkPlace{p.member, p.turn - 1, math.MaxInt}
}

// entriesUpTo gives what is in the newest region whose turn is no higher; nil if
// there is none. A region that cannot be read has nothing.
func (v *volume) entriesUpTo(turn uint64) (newest *region, at uint64, entries []footerEntry) {
	v.mu.Lock()
	for _, r := range v.ring {
		if r.turn <= turn && (newest == nil || r.turn > newest.turn) {
			newest = r
		}
	}
	if c := v.current; c != nil && c.turn <= turn && (newest == nil || c.turn > newest.turn) {
		defer v.mu.Unlock()
		return c, c.turn, slices.Clone(v.entries)
	}
	if newest == nil {
		v.mu.Unlock()
		return nil, 0, nil
	}
	at = newest.turn
	for _, w := range v.queue {
		if w.seal == newest { // its footer is not written yet
			defer v.mu.Unlock()
			return newest, at, w.entries
		}
	}
	first := newest.firstSequence.Load()
	v.mu.Unlock()
	entries, _, err := v.reader().entries(newest.id, first)
	if err != nil {
		v.failed(err)
	}
	return newest, at, entries
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
