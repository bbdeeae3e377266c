package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"weir/storage"
	"weir/storage/storagetest"
)

// A store is looked at from outside, while it is open and after: each object that
// it finds, and no other.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, BudgetBytes: 4 << 20})
	for i := range uint64(20) {
		mustPut(t, s, fmt.Sprint(i), i+1, int64(i)*13_000)
	}
	mustPut(t, s, "3", 100, 1000)
	if err := s.Delete(storage.KeyOf("4")); err != nil {
		t.Fatal(err)
	}
	m := storagetest.Meta("5", 6, -1)
	m.Stamp = 77
	if err := s.Refresh(storage.KeyOf("5"), m); err != nil {
		t.Fatal(err)
	}
	look := func() (found int) {
		i, stats, err := Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		for object := range i.Objects() {
			found++
			m, err := i.Meta(object)
			if err != nil {
				t.Fatal(err)
			}
			var body bytes.Buffer
			if err := i.WriteBody(object, &body); err != nil || !bytes.Equal(body.Bytes(), storagetest.Body(m.BodyID, m.BodyBytes)) {
				t.Errorf("%s: %d bytes, %v", m.Target, body.Len(), err)
			}
		}
		objects := 0
		for _, r := range stats {
			objects += r.Objects
		}
		if objects != found {
			t.Errorf("%d objects in the regions, %d listed", objects, found)
		}
		return found
	}
	look() // what has been written of it so far
	before := s.Stats()
	mustClose(t, s)
	if got := look(); got != before.Objects || got != 19 {
		t.Errorf("%d objects, want %d", got, before.Objects)
	}

	path := filepath.Join(dir, logFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, storagetest.Body(20, 19*13_000)[:1000])+100] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	i, _, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	object, found := i.Find(storage.KeyOf("19"))
	if err := i.WriteBody(object, &bytes.Buffer{}); !found || !errors.Is(err, storage.ErrCorrupt) || i.Gone(dir, object) {
		t.Errorf("damaged: %t, %v", found, err)
	}
	if _, _, err := Inspect(t.TempDir()); err == nil || !strings.Contains(err.Error(), "name STATE/NODE/cache") {
		t.Errorf("inspected an empty directory: %v", err)
	}
}

// TestInspectionSeesDamage flips one bit of everything that has a checksum, and nothing of
// which goes unnoticed: a front that a scan passes over, too, and a footer.
func TestInspectionSeesDamage(t *testing.T) {
	o := Options{Dir: t.TempDir(), BudgetBytes: 4 << 20, AdmitAll: true}
	s := mustOpen(t, o)
	for i := range uint64(40) { // so that one region is sealed and one is open
		mustPut(t, s, fmt.Sprint(i), i+1, 10_000)
	}
	mustClose(t, s)
	path := filepath.Join(o.Dir, logFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	regionBytes := int(s.members[0].volume.geometry.regionBytes)
	look := func(at int) (damage []string) {
		b := bytes.Clone(whole)
		if at >= 0 {
			b[at] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		i, _, err := Inspect(o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		damage = i.Damage
		for object := range i.Objects() {
			if err := i.WriteBody(object, io.Discard); err != nil {
				damage = append(damage, err.Error())
			}
		}
		return damage
	}
	if damage := look(-1); len(damage) > 0 {
		t.Fatalf("there is no damage yet: %q", damage)
	}
	body := func(id uint64) int { return bytes.Index(whole, storagetest.Body(id, 10_000)) }
	for name, at := range map[string]int{
		"a footer's trailer":                  regionBytes - 20,
		"a footer's entry":                    regionBytes - footerTrailerBytes - 10,
		"a front in a sealed region":          body(3) - 10,
		"a body in a sealed region":           body(3) + 10,
		"a front in an open region":           body(38) - 10,
		"the last front, in an open region":   body(40) - 10,
		"the last body, in an open region":    body(40) + 10,
		"the head of one, in an open region":  (body(38)-frontOfTests(t, 38))/unitBytes*unitBytes + 1,
		"the key in the last of all the rest": (body(40)-frontOfTests(t, 40))/unitBytes*unitBytes + 9,
	} {
		if len(look(at)) == 0 {
			t.Errorf("%s, at %d: not seen", name, at)
		}
	}
}

// frontOfTests is how long the front of the object is that mustPut makes with an id.
func frontOfTests(t *testing.T, id uint64) int {
	meta, err := storagetest.Meta(fmt.Sprint(id-1), id, 10_000).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return int(frontBytes(kindObject, int64(len(meta)), 0, 10_000))
}

func TestUnknownFormatIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "a", 1, 1000)
	mustClose(t, s)
	setFormat := func(format string) {
		db, err := bbolt.Open(filepath.Join(dir, tableFile), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStore).Put(keyFormat, []byte(format)) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	setFormat("99")
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrFormat) {
		t.Errorf("open: %v, want ErrFormat", err)
	}
	if _, _, err := Inspect(dir); !errors.Is(err, ErrFormat) {
		t.Errorf("inspect: %v, want ErrFormat", err)
	}
	setFormat(tableFormat)
	wantBody(t, mustOpen(t, Options{Dir: dir}), "a", 1)
}

func TestDamagedTableIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "a", 1, 1000)
	mustClose(t, s)
	whole, err := os.ReadFile(filepath.Join(dir, tableFile))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 2048 {
		damaged := filepath.Join(t.TempDir(), "copy") // a new one, since a damaged table may stay locked
		if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		b := slices.Clone(whole)
		for i := at; i < min(at+16, len(b)); i++ {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(filepath.Join(damaged, tableFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: damaged})
		if err != nil {
			if !strings.Contains(err.Error(), "empty the directory") {
				t.Errorf("damage at %d: %v: what to do?", at, err)
			}
			continue
		}
		if o, err := s.Get(storage.KeyOf("a")); err == nil { // the damage is in a page that is free
			if err := errors.Join(storagetest.Check("a", o), o.Close()); err != nil {
				t.Error(err)
			}
		}
		_ = s.Close()
	}
}

func TestLegacyFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bodies/ab/abcd-1.body", "objects/cd/cdef-2.meta", "objects/cd/cdef-3.meta.temp", "objects/cd/mine.txt"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	mustOpen(t, Options{Dir: dir})
	if _, err := os.Stat(filepath.Join(dir, "bodies")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("bodies: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "objects", "*", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "mine.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A directory that is added or taken away moves keys; none of them is found in an
// older form for that, then or later.
func TestDirectoriesChange(t *testing.T) {
	t.Chdir(t.TempDir())
	a, b := Directory{Path: "a", BudgetBytes: 4 << 20}, Directory{Path: "b", BudgetBytes: 4 << 20}
	open := func(dirs ...Directory) *Store {
		return mustOpen(t, Options{Dir: dirs[0].Path, BudgetBytes: dirs[0].BudgetBytes, More: dirs[1:], AdmitAll: true})
	}
	newest := map[string]uint64{}
	id := uint64(0)
	for n, dirs := range [][]Directory{{a}, {a, b}, {b}, {a, b}, {b, a}, {a}, {b, a}} {
		s := open(dirs...)
		found := 0
		for i := range 60 {
			name := fmt.Sprint(i)
			o, err := s.Get(storage.KeyOf(name))
			if err == nil {
				found++
				if o.Meta().BodyID != newest[name] {
					t.Errorf("%d: %s has body %d, want %d", n, name, o.Meta().BodyID, newest[name])
				}
				_ = o.Close()
			}
			if i%3 != n%3 {
				continue
			}
			id++
			mustPut(t, s, name, id, 500)
			newest[name] = id
		}
		if n == 4 && found < 30 { // the same directories in another order
			t.Errorf("%d found", found)
		}
		mustClose(t, s)
	}
}

func TestBudgetChanges(t *testing.T) {
	dir := t.TempDir()
	for _, budget := range []int64{2 << 20, 8 << 20, 1 << 20} {
		s := mustOpen(t, Options{Dir: dir, BudgetBytes: budget, AdmitAll: true})
		if budget > 2<<20 {
			wantBody(t, s, "19", 20)
		}
		if budget == 8<<20 || budget == 2<<20 {
			for i := range uint64(20) {
				mustPut(t, s, fmt.Sprint(i), i+1, budget/32)
			}
		}
		mustClose(t, s)
		if used := bytesIn(t, dir); used > budget {
			t.Errorf("%d bytes of files, budget %d", used, budget)
		}
	}
}

// TestBudgetGrowsOutOfItsRegions: what was made for a test's budget does not stay cut
// into regions of some KiB when it is given a disk, of which so many would not fill it.
func TestBudgetGrowsOutOfItsRegions(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct{ budget, regionBytes int64 }{
		{1 << 20, 53_248}, {16 << 20, 53_248}, {1 << 30, regionBytesMax}, {1 << 40, regionBytesMax}, {64 << 20, 4_120_576},
		{1 << 40, 4_120_576}, {100 << 40, regionBytesMax},
	} {
		s := mustOpen(t, Options{Dir: dir, BudgetBytes: row.budget, AdmitAll: true})
		g := s.members[0].volume.geometry
		mustPut(t, s, "a", 1, 10_000)
		wantBody(t, s, "a", 1)
		mustClose(t, s)
		if g.regionBytes != row.regionBytes {
			t.Errorf("budget %d: regions of %d bytes, want %d", row.budget, g.regionBytes, row.regionBytes)
		}
		if whole := int64(g.regions) * g.regionBytes; whole < row.budget/100*80 && whole < regionsMax*regionBytesMax/100*80 {
			t.Errorf("budget %d: the regions have %d bytes", row.budget, whole)
		}
	}
}
