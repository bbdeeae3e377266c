package cache_test

import (
	"testing"

	"weir/cache"
)

func TestParseVersion(t *testing.T) {
	for _, row := range []struct {
		text, epoch string
		version     uint64
		ok          bool
	}{
		{"e:9", "e", 9, true},
		{"a:b:9", "a:b", 9, true},
		{":0", "", 0, true},
		{"9", "", 0, false},
		{"e:", "", 0, false},
		{"e:-1", "", 0, false},
		{"e:18446744073709551616", "", 0, false},
	} {
		epoch, version, ok := cache.ParseVersion(row.text)
		if ok != row.ok || ok && (epoch != row.epoch || version != row.version) {
			t.Errorf("%q: got %q, %d, %v", row.text, epoch, version, ok)
		}
	}
}

// What one tier writes, the other reads.
func FuzzParseVersion(f *testing.F) {
	f.Add("e:9", "e", uint64(9))
	f.Add(":", "a:b", uint64(1<<63))
	f.Fuzz(func(t *testing.T, text, epoch string, version uint64) {
		if e, v, ok := cache.ParseVersion(cache.Version(epoch, version)); e != epoch || v != version || !ok {
			t.Fatalf("%q, %d reads back as %q, %d, %v", epoch, version, e, v, ok)
		}
		if e, v, ok := cache.ParseVersion(text); ok {
			if e2, v2, again := cache.ParseVersion(cache.Version(e, v)); e2 != e || v2 != v || !again {
				t.Fatalf("%q is %q, %d and then %q, %d", text, e, v, e2, v2)
			}
		}
	})
}
