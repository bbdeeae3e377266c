package memory

import (
	"fmt"
	"strconv"

	"weir/storage"
)

// walkBucketsMax bounds what one call of Walk looks at.
const walkBucketsMax = 64 << 10

// Walk gives the keys of what is stored, piece by piece: the first piece for "",
// and each further one for what the piece before it gave as next, which is "" after
// the last. A piece has at most keysMax keys, and more only if that is what the
// first bucket has. What is stored all the while is given once; what comes or goes
// meanwhile may be missing.
func (s *Store) Walk(after string, keysMax int) (keys []storage.Key, next string, err error) {
	at := 0
	if after != "" {
		if at, err = strconv.Atoi(after); err != nil || at < 0 {
			return nil, "", fmt.Errorf("memory: walk: %.64q is no place to go on at", after)
		}
	}
	perShard := len(s.shards[0].buckets) // the same in each
	for end := at + walkBucketsMax; at < len(s.shards)*perShard; at++ {
		if s.closed.Load() {
			return nil, "", storage.ErrClosed
		}
		if len(keys) >= keysMax || at >= end {
			return keys, strconv.Itoa(at), nil
		}
		more := s.appendKeys(keys, &s.shards[at/perShard], at%perShard)
		if len(keys) > 0 && len(more) > keysMax {
			return keys, strconv.Itoa(at), nil // a bucket is given as a whole
		}
		keys = more
	}
	return keys, "", nil
}

func (s *Store) appendKeys(keys []storage.Key, sh *shard, bucket int) []storage.Key {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for u := sh.buckets[bucket]; u != none; {
		v := s.viewAt(u)
		keys = append(keys, v.key)
		u = v.next
	}
	return keys
}

// Look is Get for somebody who only wants to see: it is no use of the object.
func (s *Store) Look(k storage.Key) (storage.Object, error) { return s.get(k, false) }
