package memory

import (
	"context"
	"fmt"

	"weir/storage"
)

// sweepKeys is how many keys a sweep takes at a time.
const sweepKeys = 256

// Sweep has every object compared that has not been compared with more than
// version, and notes with what. It is no use of an object, and holds no lock while
// it compares. What is stored meanwhile may be left out: nobody has noted then
// that it was compared.
func (s *Store) Sweep(ctx context.Context, version uint64, compare storage.Compare) error {
	for next, more := "", true; more; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("memory: sweep: %w", err)
		}
		keys, after, err := s.Walk(next, sweepKeys)
		if err != nil {
			return fmt.Errorf("memory: sweep: %w", err)
		}
		for _, k := range keys {
			if err := s.sweepOne(k, version, compare); err != nil {
				return fmt.Errorf("memory: sweep: %s: %w", k, err)
			}
		}
		next, more = after, after != ""
	}
	return nil
}

func (s *Store) sweepOne(k storage.Key, version uint64, compare storage.Compare) error {
	u, v := s.open(&k, false)
	if v == nil {
		return nil
	}
	defer s.unpin(u)
	known := v.checked.Load()
	if known > version {
		return nil
	}
	// Decoded for this alone: the metas that are kept are those asked for most.
	var d decoded
	if err := d.meta.Decode(s.encodedMeta(v), d.texts[:]); err != nil {
		return err
	}
	d.meta.BodyBytes = v.length
	compared, err := compare(k, &d.meta, known)
	for err == nil && known < compared && !v.checked.CompareAndSwap(known, compared) {
		known = v.checked.Load()
	}
	return err
}
