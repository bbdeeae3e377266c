package disk

import (
	"errors"

	"weir/storage"
)

// Peek implements storage.Store. It reads the main record and not the body, and
// drops nothing that it cannot read: that is for the next Get to find.
func (s *Store) Peek(k storage.Key) []storage.Copy {
	v := s.volumeOf(k)
	if v == nil {
		return nil
	}
	for range openTriesMax {
		o, err := v.openOnce(k)
		if err == nil {
			o.release()
			return []storage.Copy{{Tier: storage.TierDisk, Meta: o.meta, Checked: o.compared()}}
		}
		if !errors.Is(err, errChanged) {
			return nil
		}
	}
	return nil
}
