package disk

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"weir/storage"
	"weir/storage/storagetest"
)

var kills = flag.Int("kills", 4, "how often TestKill kills the process that writes")

const (
	killDirVariable = "WEIR_DISK_KILL_DIR"
	killFirst       = "WEIR_DISK_KILL_FIRST"
	killNames       = 200
)

func killOptions(dir string) Options {
	return Options{Dir: dir, BudgetBytes: 12 << 20, AdmitAll: true, LoadWait: time.Minute}
}

// killName is the name of body id.
func killName(id uint64) string { return fmt.Sprint(id % killNames) }

// TestKill lets another process write until it is killed, opens what it has left,
// and compares every body. What was said to be stored two seconds before must not
// be older than that.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDirVariable); dir != "" {
		killedWriter(t, dir)
		return
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 8))
	last, found := uint64(0), 0
	for n := range *kills {
		stored := writeAndKill(t, dir, last+1, time.Duration(random.Int64N(int64(700*time.Millisecond))))
		last = max(last, stored)
		s := mustOpen(t, killOptions(dir))
		torn := s.Stats().Corrupt // what the kill cut, found by the start
		for i := range killNames {
			o, err := s.Get(storage.KeyOf(fmt.Sprint(i)))
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			found++
			if err := storagetest.Check(fmt.Sprint(i), o); err != nil {
				t.Errorf("kill %d: %v", n, err)
			}
			last = max(last, o.Meta().BodyID)
			_ = o.Close()
		}
		if got := s.Stats(); got.Corrupt > torn || got.Bytes > got.BudgetBytes {
			t.Errorf("kill %d: %+v", n, got)
		}
		mustClose(t, s)
	}
	if found == 0 {
		t.Error("nothing was ever found")
	}
}

// writeAndKill starts the writer, kills it a while after its first body, and gives
// the last body that it said is stored.
func writeAndKill(t *testing.T, dir string, first uint64, after time.Duration) (stored uint64) {
	t.Helper()
	writer := exec.Command(os.Args[0], "-test.run", "^TestKill$")
	writer.Env = append(os.Environ(), killDirVariable+"="+dir, killFirst+"="+strconv.FormatUint(first, 10))
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		if id, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
			stored = id
			if timer == nil {
				timer = time.AfterFunc(after, func() { _ = writer.Process.Kill() })
			}
		}
	}
	_ = writer.Wait() // it was killed
	if timer == nil {
		t.Fatal("the writer did not write")
	}
	timer.Stop()
	return stored
}

// killedWriter writes, replaces, refreshes and reads until it is killed.
func killedWriter(t *testing.T, dir string) {
	id, err := strconv.ParseUint(os.Getenv(killFirst), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, killOptions(dir))
	for end := time.Now().Add(time.Minute); time.Now().Before(end); id++ {
		name := killName(id)
		if err := storagetest.Put(s, name, id, int64(id*7919%150_000)); err != nil {
			t.Fatal(err)
		}
		fmt.Println(id)
		m := storagetest.Meta(name, id, -1)
		m.Stamp = id
		if err := s.Refresh(storage.KeyOf(name), m); err != nil {
			t.Fatal(err)
		}
		wantBody(t, s, name, id)
	}
}

const (
	warmDirVariable = "WEIR_DISK_WARM_DIR"
	warmKeys        = 20_000
	warmRequests    = 40_000 // that a ratio is taken of
)

// TestWarmAfterKill kills a process that serves from a store, and asks the store for
// the same things as soon as it is open again: at least 99 of 100 that were hits are
// hits.
func TestWarmAfterKill(t *testing.T) {
	if dir := os.Getenv(warmDirVariable); dir != "" {
		s := mustOpen(t, warmOptions(dir))
		for seed, end := uint64(1), time.Now().Add(time.Minute); time.Now().Before(end); seed++ {
			fmt.Println(requestMany(t, s, seed))
		}
		return
	}
	dir := t.TempDir()
	server := exec.Command(os.Args[0], "-test.run", "^TestWarmAfterKill$")
	server.Env = append(os.Environ(), warmDirVariable+"="+dir)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	before, lines := 0, bufio.NewScanner(out)
	for n := 0; n < 7 && lines.Scan(); n++ { // the log has come round by then
		if before, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
	}
	_ = server.Process.Kill()
	for lines.Scan() { // what it still said
	}
	_ = server.Wait() // it was killed
	s := mustOpen(t, warmOptions(dir))
	defer mustClose(t, s)
	after := requestMany(t, s, 99)
	t.Logf("%d hits of %d before, %d after", before, warmRequests, after)
	if before < warmRequests/4 || after*100 < before*99 {
		t.Errorf("%d hits of %d before, %d after", before, warmRequests, after)
	}
}

func warmOptions(dir string) Options {
	return Options{Dir: dir, BudgetBytes: 48 << 20, AdmitAll: true, AsyncReads: true}
}

// requestMany asks for objects of 8 KiB by Zipf's law, stores what it misses, and
// counts the hits.
func requestMany(t *testing.T, s *Store, seed uint64) (hits int) {
	random := rand.New(rand.NewPCG(seed, 1))
	popular := rand.NewZipf(random, 1.1, 1, warmKeys-1)
	for range warmRequests {
		name := fmt.Sprint(popular.Uint64())
		o, err := s.Get(storage.KeyOf(name))
		if err == nil {
			hits++
			_ = o.Close()
			continue
		}
		if err := storagetest.Put(s, name, 1, 8<<10); err != nil {
			t.Fatal(err)
		}
	}
	return hits
}
