package disk

import (
	"cmp"
	"slices"

	"weir/storage"
)

// settleMembers sees to it that no directory comes back with what is older than
// what was served without it:
//
//  1. A directory of a lower generation than another was away while something
//     changed: everything in it is dropped.
//  2. If the set of directories has changed, or one of them is away now, all
//     others begin a new generation.
//  3. If the set has changed, keys have moved: each directory deletes, while it
//     loads, what does not belong to it any more, and then knows the new set.
func (s *Store) settleMembers() error {
	set, newest, changed := s.membersHash(), uint64(0), false
	for _, m := range s.members {
		if m.volume == nil {
			changed = true
			continue
		}
		newest = max(newest, m.volume.store.generation)
		changed = changed || m.volume.store.members != set
	}
	generation := newest
	if changed {
		generation++
	}
	for i, m := range s.members {
		v := m.volume
		if v == nil {
			continue
		}
		v.onOffline = s.wentOffline
		if v.store.generation < newest && v.store.members != 0 {
			v.log.Warn("disk: everything stored is dropped", "dir", v.dir, "why", "the directory was away while others were in service")
			if err := v.clear(); err != nil {
				return err
			}
		}
		row := v.store
		row.generation = generation
		switch row.members {
		case set:
		case 0: // it is new
			row.members = set
		default:
			v.mine = func(k storage.Key) bool { return s.memberOf(k) == i }
			v.whenLoaded = func() { v.adopt(set) }
		}
		if row == v.store {
			continue
		}
		if err := v.saveStore(row); err != nil {
			return err
		}
	}
	return nil
}

// membersHash is the same for the same directories in any order.
func (s *Store) membersHash() uint64 {
	hashes := make([]uint64, 0, len(s.members))
	for _, m := range s.members {
		hashes = append(hashes, m.hash)
	}
	slices.Sort(hashes)
	sum := uint64(len(hashes))
	for _, h := range hashes {
		sum = sum*0x100000001b3 ^ h
	}
	return cmp.Or(sum, 1) // 0: not known yet
}

// adopt writes down, after what had moved has been deleted, that the directory
// belongs to a new set.
func (v *volume) adopt(set uint64) {
	v.storeMu.Lock()
	defer v.storeMu.Unlock()
	row := v.store
	row.members = set
	_ = v.saveStoreLocked(row) // it is counted, and done again at the next start
}

// wentOffline begins a new generation in the directories that are left.
func (s *Store) wentOffline(gone *volume) {
	for _, m := range s.members {
		if v := m.volume; v != nil && v != gone {
			v.storeMu.Lock()
			row := v.store
			row.generation++
			_ = v.saveStoreLocked(row) // a second disk that fails is counted by itself
			v.storeMu.Unlock()
		}
	}
}

// saveStore writes the store's row.
func (v *volume) saveStore(row storeRow) error {
	v.storeMu.Lock()
	defer v.storeMu.Unlock()
	return v.saveStoreLocked(row)
}
