package disk

import "weir/storage"

// Peek implements storage.Store. It reads the meta file and not the body, and
// drops nothing that it cannot read: that is for the next Get to find.
//
// The file is read without a lock, so it may be replaced meanwhile, as in Get.
func (s *Store) Peek(k storage.Key) []storage.Copy {
	for range triesMax {
		metaN, stored := s.metaOf(k)
		if !stored {
			return nil
		}
		f, err := s.readMetaFile(k, metaN)
		if err == nil {
			return []storage.Copy{{Tier: storage.TierDisk, Meta: f.meta}}
		}
		if now, _ := s.metaOf(k); now == metaN {
			return nil // nobody has replaced it: it cannot be read
		}
	}
	return nil
}

// metaOf says which meta file the object under k has now.
func (s *Store) metaOf(k storage.Key) (metaN uint64, stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil || s.closed {
		return 0, false
	}
	return e.metaN, true
}
