package natslog_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/purge"
	"weir/purge/natslog"
)

func keyed(key, target string) purge.Record {
	r := record(target)
	r.Key = key
	return r
}

// An idempotency key has one version, also after the broker has been stopped:
// the stream itself knows it.
func TestAKeyHasOneVersion(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, "127.0.0.1:0")
	l, _ := createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	appendAll(t, l, "/a")
	if v, err := l.Append(t.Context(), keyed("api/k", "/b")); v != 2 || err != nil {
		t.Errorf("first: %d, %v", v, err)
	}
	if v, err := l.Append(t.Context(), keyed("api/k", "/c")); v != 2 || !errors.Is(err, purge.ErrRepeated) {
		t.Errorf("again: %d, %v, want 2 and ErrRepeated", v, err)
	}
	if v, err := l.Append(t.Context(), keyed("ci/k", "/d")); v != 3 || err != nil {
		t.Errorf("another key: %d, %v", v, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startBroker(t, dir, "127.0.0.1:0")
	l, _ = createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	if v, err := l.Append(t.Context(), keyed("api/k", "/b")); v != 2 || !errors.Is(err, purge.ErrRepeated) {
		t.Errorf("after a restart: %d, %v, want 2 and ErrRepeated", v, err)
	}
	// Nodes get those with a key like any other.
	n := startNode(t, "ams", b.URL(), t.TempDir())
	n.await(t, 3)
	if hard, _ := n.index.Covering("docs", "h", "/b", nil); hard != 2 {
		t.Errorf("hard = %d, want 2", hard)
	}
}

func TestManyControlsWithOneKey(t *testing.T) { onEachBroker(t, testManyControlsWithOneKey) }

func testManyControlsWithOneKey(t *testing.T, url string) {
	first, _ := createLog(t, connect(t, url, "control"), natslog.Options{})
	second, _ := createLog(t, connect(t, url, "control"), natslog.Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted := make(map[uint64]int)
	for i := range 20 {
		l := []*natslog.Log{first, second}[i%2]
		wg.Go(func() {
			v, err := l.Append(t.Context(), keyed("api/k", fmt.Sprintf("/%d", i)))
			if err != nil && !errors.Is(err, purge.ErrRepeated) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if accepted[v] += 0; err == nil {
				accepted[v]++
			}
		})
	}
	wg.Wait()
	if len(accepted) != 1 || accepted[1] != 1 {
		t.Errorf("versions and how many were told that it is theirs: %v", accepted)
	}
}

// A key is forgotten with its record.
func TestAKeyIsForgottenWithItsRecord(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	l, _ := createLog(t, connect(t, b.URL(), "control"), natslog.Options{AgeMax: time.Second})
	if _, err := l.Append(t.Context(), keyed("api/k", "/a")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		v, err := l.Append(t.Context(), keyed("api/k", "/a"))
		if err == nil && v > 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d, %v after ten times the log's age", v, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestScan(t *testing.T) { onEachBroker(t, testScan) }

func testScan(t *testing.T, url string) {
	l, _ := createLog(t, connect(t, url, "control"), natslog.Options{})
	appendAll(t, l, "/1", "/2", "/3", "/4")
	scan := func(first, last uint64, most int) (versions []uint64) {
		t.Helper()
		err := l.Scan(t.Context(), first, last, func(r purge.Record) bool {
			if want := fmt.Sprintf("/%d", r.Version); len(r.Targets) != 1 || r.Targets[0] != want || r.Who != "test" {
				t.Errorf("record %+v", r)
			}
			versions = append(versions, r.Version)
			return len(versions) < most
		})
		if err != nil {
			t.Error(err)
		}
		return versions
	}
	for _, row := range []struct {
		first, last uint64
		most        int
		want        []uint64
	}{
		{1, 4, 9, []uint64{1, 2, 3, 4}}, {4, 2, 9, []uint64{4, 3, 2}}, {3, 3, 9, []uint64{3}}, {3, 7, 9, []uint64{3, 4}}, {9, 9, 9, nil}, {1, 4, 2, []uint64{1, 2}},
	} {
		if got := scan(row.first, row.last, row.most); !slices.Equal(got, row.want) {
			t.Errorf("from %d to %d: %v, want %v", row.first, row.last, got, row.want)
		}
	}
}
