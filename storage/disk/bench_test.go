package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"weir/storage"
	"weir/storage/storagetest"
)

var benchFio = flag.Bool("bench.fio", false, "run fio beside BenchmarkGetCold")

var benchDir = flag.String("bench.dir", "", "where the benchmarks write; default: a temporary directory")

func openBench(b *testing.B, budgetBytes int64) *Store {
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	} else if err := os.RemoveAll(filepath.Join(dir, "bench")); err != nil {
		b.Fatal(err)
	}
	return mustOpen(b, Options{Dir: filepath.Join(dir, "bench"), BudgetBytes: budgetBytes, AdmitAll: true, AsyncReads: true})
}

// BenchmarkFill writes 1 GiB in objects of 1 MiB, and one object of 1 GiB, and syncs
// it. Beside each it writes a file in the same way as
//
//	dd if=/dev/zero of=FILE bs=1M count=1024 conv=fdatasync
//
// and tells the ratio. A virtual disk is the noisier part: -bench.dir names one.
func BenchmarkFill(b *testing.B) {
	for _, c := range []struct {
		name    string
		objects int
	}{{"objects=1024", 1024}, {"objects=1", 1}} {
		b.Run(c.name, func(b *testing.B) {
			body := storagetest.Body(1, 1<<20)
			b.SetBytes(1 << 30)
			var filled, copied time.Duration
			for b.Loop() {
				b.StopTimer()
				copied += writePlain(b, body)
				s := openBench(b, 9<<30)
				b.StartTimer()
				start := time.Now()
				for i := range uint64(c.objects) {
					fillOne(b, s, i, body, 1024/c.objects)
				}
				mustClose(b, s) // what waits to be written is then in the file
				syncFile(b, filepath.Join(s.members[0].path, logFile))
				filled += time.Since(start)
			}
			b.ReportMetric(1024*float64(b.N)/filled.Seconds(), "MiB/s")
			b.ReportMetric(copied.Seconds()/filled.Seconds(), "x-dd")
		})
	}
}

// fillOne stores an object of n times body, and waits until it is in the file.
func fillOne(b *testing.B, s *Store, i uint64, body []byte, n int) {
	w, err := s.Create(storage.Key{1: byte(i), 2: byte(i >> 8), 15: 1}, storagetest.Meta("a", i, int64(n*len(body))))
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		if _, err := w.Write(body); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		b.Fatal(err)
	}
}

func syncFile(b *testing.B, name string) {
	f, err := os.Open(name)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		b.Fatal(err)
	}
}

// writePlain says how long dd takes.
func writePlain(b *testing.B, body []byte) time.Duration {
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	}
	start := time.Now()
	f, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	for range 1024 {
		if _, err := f.Write(body); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// BenchmarkGet4KiB opens random objects of 4 KiB and reads them, from the page cache.
func BenchmarkGet4KiB(b *testing.B) {
	s, keys := fillSmall(b, 1<<30, 100_000)
	random := rand.New(rand.NewPCG(3, 4))
	b.ReportAllocs()
	b.SetBytes(4096)
	for b.Loop() {
		getSmall(b, s, keys[random.IntN(len(keys))])
	}
}

// BenchmarkGetCold reads random objects of 4 KiB that are not in the page cache, 16
// at a time, each once. Beside it, in the same file,
//
//	fio --name r --rw randread --bs 4k --direct 1 --ioengine psync --thread --numjobs 16 --group_reporting --filename FILE
//
// -bench.fio runs that in turn, and tells the ratio of the objects a second.
func BenchmarkGetCold(b *testing.B) {
	const depth, reads = 16, 100_000
	s, keys := fillSmall(b, 8<<30, 1_000_000)
	name := filepath.Join(s.members[0].path, logFile)
	mustClose(b, s)
	random := rand.New(rand.NewPCG(5, 6))
	var ours, fios float64
	for b.Loop() {
		random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		s = mustOpen(b, s.options)
		dropPages(b, name)
		start := time.Now()
		var workers sync.WaitGroup
		for w := range depth {
			workers.Go(func() {
				for _, k := range keys[w*reads/depth : (w+1)*reads/depth] {
					getSmall(b, s, k)
				}
			})
		}
		workers.Wait()
		ours += reads / time.Since(start).Seconds()
		mustClose(b, s)
		if *benchFio {
			dropPages(b, name)
			fios += fioReads(b, name, depth)
		}
	}
	b.ReportMetric(ours/float64(b.N), "objects/s")
	if *benchFio {
		b.ReportMetric(fios/float64(b.N), "fio/s")
		b.ReportMetric(ours/fios, "x-fio")
	}
}

// fioReads gives what fio reads a second.
func fioReads(b *testing.B, name string, depth int) float64 {
	out, err := exec.Command("fio", "--name=r", "--rw=randread", "--bs=4k", "--direct=1", "--ioengine=psync", "--thread",
		"--numjobs="+strconv.Itoa(depth), "--group_reporting", "--filename="+name, "--readonly", "--runtime=3", "--time_based",
		"--output-format=json").Output()
	if err != nil {
		b.Fatal(err)
	}
	var report struct {
		Jobs []struct{ Read struct{ IOPS float64 } }
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Jobs) != 1 {
		b.Fatalf("%v: %s", err, out)
	}
	return report.Jobs[0].Read.IOPS
}

// fillSmall makes a store of objects of 4 KiB.
func fillSmall(b *testing.B, budgetBytes int64, objects int) (*Store, []storage.Key) {
	s := openBench(b, budgetBytes)
	m := storagetest.Meta("a", 1, 4096)
	body := storagetest.Body(1, 4096)
	keys := make([]storage.Key, objects)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range keys {
		binary.LittleEndian.PutUint64(keys[i][:], random.Uint64())
		w, err := s.Create(keys[i], m)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = w.Write(body); err == nil {
			err = w.Commit()
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = w.Close()
	}
	return s, keys
}

func getSmall(b *testing.B, s *Store, k storage.Key) {
	o, err := s.Get(k)
	if err != nil {
		b.Error(err)
		return
	}
	if _, err := o.WriteTo(io.Discard); err != nil {
		b.Error(err)
	}
	_ = o.Close()
}

func BenchmarkRead4KiB(b *testing.B) {
	s := openBench(b, 64<<20)
	mustPut(b, s, "a", 1, 1<<20)
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for i := range b.N {
		if _, err := o.ReadAt(p, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart loads the index of a store, in ns an object, from its checkpoint,
// and from the footers alone. The footers are written directly, without bodies. 10 M
// objects, and what cp takes for the bytes that the start reads:
//
//	go test -run '^$' -bench Start -benchtime 5x ./storage/disk -index.objects 10000000
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	o := Options{Dir: dir, BudgetBytes: 64 << 30, LoadWait: time.Hour}
	s := mustOpen(b, o)
	v := s.members[0].volume
	const perRegion = 8000 // objects of 4 KiB in 32 MiB
	random := rand.New(rand.NewPCG(1, 2))
	footers, err := os.Create(filepath.Join(dir, "footers"))
	if err != nil {
		b.Fatal(err)
	}
	rows := map[uint32]regionRow{}
	for region := range uint32(*benchObjects / perRegion) {
		entries := make([]footerEntry, perRegion)
		for i := range entries {
			e := &entries[i]
			binary.LittleEndian.PutUint64(e.key[:], random.Uint64())
			*e = footerEntry{key: e.key, sequence: uint64(region+10)*perRegion + uint64(i), unit: uint32(i) * 64, units: 64, accounted: 4096, kind: kindObject}
		}
		first := uint64(region+10)*perRegion - 1
		footer := appendFooter(nil, entries, first, v.salt)
		_, err := v.file.WriteAt(footer, int64(region+1)*v.geometry.regionBytes-int64(len(footer)))
		if err == nil {
			_, err = footers.Write(footer)
		}
		if err != nil {
			b.Fatal(err)
		}
		rows[region] = regionRow{state: regionSealed, firstSequence: first, turn: uint64(region) + 10, records: perRegion}
	}
	if err := v.table.setRegions(rows); err != nil {
		b.Fatal(err)
	}
	mustClose(b, s)
	b.Run("footers", func(b *testing.B) {
		benchStart(b, o, footers.Name(), func() { _ = os.Remove(filepath.Join(dir, checkpointFile)) })
	})
	s = mustOpen(b, o)
	s.members[0].volume.writeCheckpoint()
	mustClose(b, s)
	b.Run("checkpoint", func(b *testing.B) { benchStart(b, o, filepath.Join(dir, checkpointFile), func() {}) })
}

func benchStart(b *testing.B, o Options, read string, prepare func()) {
	var loaded, copied time.Duration
	objects := 0
	for b.Loop() {
		prepare()
		start := time.Now()
		s := mustOpen(b, o)
		loaded += time.Since(start)
		objects += s.Stats().Objects
		mustClose(b, s)
		copied += copyFile(b, read)
	}
	b.ReportMetric(float64(loaded.Nanoseconds())/float64(objects), "ns/object")
	b.ReportMetric(loaded.Seconds()/float64(b.N), "s")
	b.ReportMetric(loaded.Seconds()/copied.Seconds(), "x-cp")
}

// copyFile says how long a copy takes, as cp does it.
func copyFile(b *testing.B, name string) time.Duration {
	start := time.Now()
	from, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(name + ".copy")
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10)); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
