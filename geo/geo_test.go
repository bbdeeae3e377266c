package geo

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const labDatabase = "../testdata/regions/lab.mmdb"

var (
	amsterdam = Location{Lat: 52.37, Lon: 4.90}
	ashburn   = Location{Lat: 39.04, Lon: -77.49}
	singapore = Location{Lat: 1.29, Lon: 103.85}
)

func openLab(t *testing.T) *DB {
	t.Helper()
	db, err := Open(labDatabase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestLookup(t *testing.T) {
	db := openLab(t)
	for _, tt := range []struct {
		addr, country string
		known         bool
	}{
		{"127.101.0.1", "NL", true},
		{"127.101.255.254", "NL", true},
		{"127.102.0.1", "US", true},
		{"127.112.0.1", "AU", true},
		{"::ffff:127.103.0.1", "SG", true},
		{"192.0.2.77", "NL", true},
		{"::ffff:203.0.113.9", "SG", true},
		{"2001:db8:111::1", "JP", true},
		{"2001:db8:111::1%eth0", "JP", true},
		{"127.0.0.1", "", false},
		{"127.100.0.1", "", false},
		{"8.8.8.8", "", false},
		{"::1", "", false},
		{"2001:db8:200::1", "", false},
	} {
		l, ok := db.Lookup(netip.MustParseAddr(tt.addr))
		if ok != tt.known || l.Country != tt.country {
			t.Errorf("Lookup(%s) = %+v, %v; want country %q, %v", tt.addr, l, ok, tt.country, tt.known)
		}
	}
	l, _ := db.Lookup(netip.MustParseAddr("127.101.0.1"))
	if l.Lat != 52.37 || l.Lon != 4.90 || l.City != "Amsterdam" {
		t.Errorf("client of ams is at %+v", l)
	}
	if _, ok := db.Lookup(netip.Addr{}); ok {
		t.Error("the zero address has a location")
	}
}

func TestOpenRefuses(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.mmdb")
	if err := os.WriteFile(garbage, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{garbage, garbage + ".missing"} {
		if db, err := Open(path); err == nil {
			_ = db.Close()
			t.Errorf("Open(%s) succeeded", path)
		}
	}
}

// FuzzOpenBytes feeds damaged databases: look-ups may fail, never crash.
func FuzzOpenBytes(f *testing.F) {
	lab, err := os.ReadFile(labDatabase)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lab)
	f.Add(lab[:len(lab)/2])
	f.Fuzz(func(t *testing.T, database []byte) {
		db, err := OpenBytes(database)
		if err != nil {
			return
		}
		defer db.Close()
		if l, ok := db.Lookup(netip.MustParseAddr("127.101.0.1")); ok && !l.isOnEarth() {
			t.Errorf("location %+v", l)
		}
	})
}

func TestKmTo(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b Location
		km   float64
	}{
		{"itself", amsterdam, amsterdam, 0},
		{"ams to iad", amsterdam, ashburn, 6208},
		{"ams to sin", amsterdam, singapore, 10500},
		{"antipodes", Location{Lat: 90}, Location{Lat: -90}, math.Pi * earthRadiusKm},
		{"across the date line", Location{Lon: 179.5}, Location{Lon: -179.5}, earthRadiusKm * math.Pi / 180},
	} {
		for _, km := range []float64{tt.a.KmTo(tt.b), tt.b.KmTo(tt.a)} {
			if math.Abs(km-tt.km) > 0.005*tt.km+0.001 {
				t.Errorf("%s: %.1f km, want %.1f", tt.name, km, tt.km)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	pops := []PoP{
		{Name: "sin", Location: singapore}, {Name: "iad1", Location: ashburn},
		{Name: "ams", Location: amsterdam}, {Name: "iad2", Location: ashburn},
	}
	names := func(pops []PoP) string {
		var s string
		for _, p := range pops {
			s += p.Name + " "
		}
		return s
	}
	if got := names(Nearest(Location{Lat: 51.51, Lon: -0.13}, pops)); got != "ams iad1 iad2 sin " {
		t.Errorf("from London: %s", got)
	}
	if got := names(Nearest(Location{Lat: 35.68, Lon: 139.69}, pops)); got != "sin ams iad1 iad2 " {
		t.Errorf("from Tokyo: %s", got)
	}
	if got := names(pops); got != "sin iad1 ams iad2 " {
		t.Errorf("Nearest changed its argument: %s", got)
	}
}
