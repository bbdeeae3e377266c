package disk

import (
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/storage"
	"weir/storage/storagetest"
)

var benchDir = flag.String("bench.dir", "", "where the benchmarks write; default: a temporary directory")

func openBench(b *testing.B, budgetBytes int64) *Store {
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	} else if err := os.RemoveAll(filepath.Join(dir, "bench")); err != nil {
		b.Fatal(err)
	}
	return mustOpen(b, Options{Dir: filepath.Join(dir, "bench"), BudgetBytes: budgetBytes, AdmitAll: true})
}

// BenchmarkFill writes 1 GiB in objects of 1 MiB and syncs it, as
//
//	dd if=/dev/zero of=FILE bs=1M count=1024 conv=fdatasync
func BenchmarkFill(b *testing.B) {
	const objects = 1024
	body := storagetest.Body(1, 1<<20)
	b.SetBytes(objects * int64(len(body)))
	for b.Loop() {
		s := openBench(b, 2<<30)
		start := time.Now()
		for i := range uint64(objects) {
			w, err := s.Create(storage.Key{1: byte(i), 2: byte(i >> 8), 15: 1}, storagetest.Meta("a", i, int64(len(body))))
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
		mustClose(b, s)
		f, err := os.Open(filepath.Join(s.members[0].path, logFile))
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
		b.ReportMetric(float64(objects)/time.Since(start).Seconds(), "MiB/s")
	}
}

// BenchmarkGet4KiB opens random objects of 4 KiB and reads them; beside it
//
//	fio --name r --rw randread --bs 4k --size 1g --runtime 10 --ioengine psync --filename FILE
func BenchmarkGet4KiB(b *testing.B) {
	const objects = 100_000
	s := openBench(b, 1<<30)
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
	b.ReportAllocs()
	b.SetBytes(4096)
	for b.Loop() {
		o, err := s.Get(keys[random.IntN(objects)])
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		_ = o.Close()
	}
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

// BenchmarkStart loads the index of a store from its footers, in ns an object. The
// footers are written directly, without bodies. 10 M objects, and what cp takes
// for the same bytes:
//
//	go test -run '^$' -bench Start -benchtime 1x ./storage/disk -index.objects 10000000
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
	b.ResetTimer()
	for b.Loop() {
		start := time.Now()
		s := mustOpen(b, o)
		loaded := time.Since(start)
		objects := s.Stats().Objects
		mustClose(b, s)
		copied := copyFile(b, footers.Name())
		b.ReportMetric(float64(loaded.Nanoseconds())/float64(objects), "ns/object")
		b.ReportMetric(loaded.Seconds(), "s")
		b.ReportMetric(loaded.Seconds()/copied.Seconds(), "x-cp")
	}
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
