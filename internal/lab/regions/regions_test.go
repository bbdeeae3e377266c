package regions

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

const folder = "../../../testdata/regions"

func load(t *testing.T) *Table {
	t.Helper()
	table, err := Load(os.DirFS(folder), "regions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestCommittedTable(t *testing.T) {
	table := load(t)
	all := table.Regions()
	if len(all) != 12 {
		t.Fatalf("%d regions, want 12", len(all))
	}
	if got := []string{all[0].Name, all[1].Name, all[2].Name}; strings.Join(got, " ") != "ams iad sin" {
		t.Errorf("the default PoPs are %v", got)
	}
	for _, a := range all {
		for _, b := range all {
			rtt := table.RTT(a.Name, b.Name)
			if a.Name == b.Name && rtt != 5*time.Millisecond {
				t.Errorf("%s to itself: %v", a.Name, rtt)
			}
			if a.Name != b.Name && (rtt < 10*time.Millisecond || rtt > 400*time.Millisecond) {
				t.Errorf("%s to %s: %v", a.Name, b.Name, rtt)
			}
		}
	}
	if rtt := table.RTT("iad", "sin"); rtt != 223*time.Millisecond {
		t.Errorf("iad to sin: %v, published 223 ms", rtt)
	}
	if rtt := table.RTT("ams", "nowhere"); rtt != 0 {
		t.Errorf("to an unknown region: %v", rtt)
	}
}

func TestClientAddresses(t *testing.T) {
	table := load(t)
	for _, r := range table.Regions() {
		addr := table.ClientAddr(r.Name)
		mapped := netip.AddrFrom16(addr.As16())
		for _, a := range []netip.Addr{addr, mapped} {
			if got, ok := table.ByAddr(a); !ok || got.Name != r.Name {
				t.Errorf("ByAddr(%s) = %q, %v; want %q", a, got.Name, ok, r.Name)
			}
		}
	}
	if got := table.ClientAddr("ams"); got != netip.MustParseAddr("127.101.0.1") {
		t.Errorf("client of ams: %s", got)
	}
	if got := table.ClientAddr("nowhere"); got.IsValid() {
		t.Errorf("client of nowhere: %s", got)
	}
	for _, other := range []string{"127.0.0.1", "127.100.0.1", "127.113.0.1", "10.101.0.1", "::1"} {
		if r, ok := table.ByAddr(netip.MustParseAddr(other)); ok {
			t.Errorf("ByAddr(%s) = %q", other, r.Name)
		}
	}
	if _, ok := table.ByAddr(netip.Addr{}); ok {
		t.Error("the zero address has a region")
	}
}

const twoRegions = `
same_region_rtt_ms: 5
regions:
  - {name: a, city: A, country: AA, lat: 1, lon: 2, published_as: Region A, clients: 127.101.0.0/16}
  - {name: b, city: B, country: BB, lat: 3, lon: 4, published_as: Region B, clients: 127.102.0.0/16}
rtt_ms:
  a: {b: 80}
  b: {a: 81.5}
`

func TestParse(t *testing.T) {
	table, err := Parse([]byte(twoRegions))
	if err != nil {
		t.Fatal(err)
	}
	if rtt := table.RTT("b", "a"); rtt != 81500*time.Microsecond {
		t.Errorf("b to a: %v", rtt)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"unknown key", "same_region_rtt_ms", "same_region_rtt", "unknown field"},
		{"duplicate key", "rtt_ms:", "same_region_rtt_ms: 6\nrtt_ms:", "already defined"},
		{"bad prefix", "127.101.0.0/16", "127.101", "127.101"},
		{"wrong network", "127.101.0.0/16", "127.1.0.0/16", "127.n.0.0/16"},
		{"not masked", "127.101.0.0/16", "127.101.0.1/16", "127.n.0.0/16"},
		{"shared network", "127.102.0.0/16", "127.101.0.0/16", "too"},
		{"no clients", ", clients: 127.101.0.0/16", "", "clients"},
		{"duplicate name", "name: b", "name: a", "twice"},
		{"bad name", "name: a", "name: A/B", "name"},
		{"bad country", "country: AA", "country: Aland", "country"},
		{"bad lat", "lat: 1", "lat: 91", "lat"},
		{"NaN", "lat: 1", "lat: .nan", "lat"},
		{"bad lon", "lon: 2", "lon: -181", "lon"},
		{"missing pair", "a: {b: 80}", "a: {}", "rtt_ms.a.b: missing"},
		{"missing row", "  b: {a: 81.5}", "", "rtt_ms.b.a: missing"},
		{"unknown row", "  b: {a: 81.5}", "  b: {a: 81.5}\n  c: {a: 1}", "rtt_ms.c: no such region"},
		{"unknown column", "{b: 80}", "{b: 80, c: 1}", "rtt_ms.a.c: no such region"},
		{"own column", "{b: 80}", "{b: 80, a: 1}", "same_region_rtt_ms says it"},
		{"asymmetric", "81.5", "181.5", "there but"},
		{"negative", "{b: 80}", "{b: -80}", "rtt_ms.a.b"},
		{"NaN time", "{b: 80}", "{b: .nan}", "rtt_ms.a.b"},
		{"too long", "{b: 80}", "{b: 80000}", "rtt_ms.a.b"},
		{"negative own", "same_region_rtt_ms: 5", "same_region_rtt_ms: -5", "same_region_rtt_ms"},
		{"bad example net", "lat: 1,", "lat: 1, documentation: [192.0.2.1/24],", "documentation[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(twoRegions, tt.from, tt.to, 1)
			if text == twoRegions {
				t.Fatal("the row changes nothing")
			}
			_, err := Parse([]byte(text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := Parse(nil); err == nil {
		t.Error("an empty table was accepted")
	}
	if _, err := Parse(make([]byte, fileBytesMax+1)); err == nil {
		t.Error("a huge table was accepted")
	}
	if _, err := Load(os.DirFS(folder), "missing.yaml"); err == nil {
		t.Error("a missing file was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(twoRegions))
	f.Add([]byte("regions: [{}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := Parse(text)
		if err != nil {
			return
		}
		for _, r := range table.Regions() {
			if got, ok := table.ByAddr(r.ClientAddr()); !ok || got.Name != r.Name {
				t.Errorf("ByAddr(%s) = %q, %v; want %q", r.ClientAddr(), got.Name, ok, r.Name)
			}
		}
	})
}
