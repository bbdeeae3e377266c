package tiered

import (
	"io"

	"weir/storage"
)

const copyBytes = 64 << 10 // a block of the disk tier, which verifies whole blocks

// promoted is an object above that this Get found below.
type promoted struct{ storage.Object }

// Tier implements storage.Object.
func (promoted) Tier() storage.Tier { return storage.TierDisk }

// promote gives the object to answer with for one that was found below: its
// copy above if there can be one, and otherwise itself. It takes over the object
// that it is given. ErrNotFound if its body cannot be read.
//
// Copying takes time, in which the key may change. Without a guard:
//
//  1. Get finds nothing above, and object A below.
//  2. Commit replaces A by B, in both stores. (Or Delete or Clear takes A
//     away, or Refresh gives it another meta.)
//  3. Get puts its copy of A above, over B.
//  4. The next Get is answered with A, which is older than what was stored in 2.
//
// So Get reads the shard's count of changes before it looks below, and the copy
// becomes visible under the shard's lock and only if the count is still the
// same. A change counts when it begins and when it ends, with the lock held in
// between. Then, if the count was read
//
//   - before a change began: the beginning makes the counts differ;
//   - after it began and before it ended: the end makes them differ;
//   - after it ended: what was found below is already the newer object.
//
// And a change that begins after the copy became visible finds it there and
// replaces, refreshes or deletes it like any object.
func (s *Store) promote(k storage.Key, below storage.Object, changes uint64) (storage.Object, error) {
	if s.memory == nil || below.Meta().BodyBytes > s.options.PromoteBytesMax || !s.beginPromotion(k) {
		return below, nil
	}
	defer s.endPromotion(k)
	if above, err := s.memory.Get(k); err == nil { // another Get promoted it meanwhile
		s.closeBelow(k, below)
		return above, nil
	}
	above, readErr := s.copyUp(k, below, changes)
	if readErr != nil {
		s.failed("promote", k, readErr)
		s.closeBelow(k, below)
		return nil, storage.ErrNotFound
	}
	if above == nil {
		return below, nil
	}
	s.closeBelow(k, below)
	return promoted{above}, nil
}

// beginPromotion says whether this Get is to promote k. One at a time is: many
// that find a key below at once must not fill the store above with its copies.
func (s *Store) beginPromotion(k storage.Key) bool {
	shard := s.shardOf(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, busy := shard.promoting[k]; busy {
		return false
	}
	shard.promoting[k] = struct{}{}
	return true
}

func (s *Store) endPromotion(k storage.Key) {
	shard := s.shardOf(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.promoting, k)
}

// copyUp copies the object above and opens it there. It gives nil if the store
// above does not take it or the key has changed, and an error only if the
// object below cannot be read.
func (s *Store) copyUp(k storage.Key, below storage.Object, changes uint64) (above storage.Object, readErr error) {
	w, err := s.memory.Create(k, below.Meta())
	if err != nil {
		return nil, nil // no room above
	}
	defer w.Close() // a store above has nothing to report here that matters
	taken, readErr := copyBody(w, below)
	if readErr != nil || !taken {
		return nil, readErr
	}
	shard := s.shardOf(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.changes.Load() != changes || w.Commit() != nil {
		return nil, nil
	}
	if above, err = s.memory.Get(k); err != nil {
		return nil, nil
	}
	// It is the same object with the same meta, so what it has been compared
	// with below it has been compared with.
	raise(above, below.Checked().Load())
	return above, nil
}

// copyBody copies a body. Not taken: w refused it.
func copyBody(w io.Writer, below storage.Object) (taken bool, readErr error) {
	length := below.Meta().BodyBytes
	buffer := make([]byte, min(length, copyBytes))
	for at := int64(0); at < length; {
		p := buffer[:min(copyBytes, length-at)]
		if n, err := below.ReadAt(p, at); n < len(p) {
			return false, err
		}
		if _, err := w.Write(p); err != nil {
			return false, nil
		}
		at += int64(len(p))
	}
	return true, nil
}

// raise makes the object's checked version at least version.
func raise(o storage.Object, version uint64) {
	checked := o.Checked()
	for {
		now := checked.Load()
		if now >= version || checked.CompareAndSwap(now, version) {
			return
		}
	}
}

func (s *Store) closeBelow(k storage.Key, below storage.Object) {
	s.failed("close", k, below.Close())
}
