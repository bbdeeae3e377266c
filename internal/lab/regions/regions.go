// Package regions knows the lab's regions: where each is, how far apart two of
// them are in round-trip time, and which loopback addresses stand for clients
// of which region.
//
// The table is a YAML file (testdata/regions/regions.yaml, whose head names the
// source of the figures). It is read once, checked as a whole and never changes.
package regions

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
)

// fileBytesMax is the largest table that Load and Parse take.
const fileBytesMax = 1 << 20

// Region is one place: a city with a client network of its own.
type Region struct {
	// Name is the short name that the lab uses, like "ams".
	Name string `yaml:"name"`
	// City is the city's name, for people.
	City string `yaml:"city"`
	// Country is the ISO 3166-1 alpha-2 code, like "NL".
	Country string `yaml:"country"`
	// Lat is the latitude in degrees, north positive.
	Lat float64 `yaml:"lat"`
	// Lon is the longitude in degrees, east positive.
	Lon float64 `yaml:"lon"`
	// PublishedAs is the region's name in the published latency table.
	PublishedAs string `yaml:"published_as"`
	// Clients is the loopback network, 127.n.0.0/16, of simulated clients.
	Clients netip.Prefix `yaml:"clients"`
	// Documentation are networks reserved for examples that are placed in this
	// region in the lab's location database.
	Documentation []netip.Prefix `yaml:"documentation"`
}

// ClientAddr gives the address of the region's simulated client, 127.n.0.1.
func (r Region) ClientAddr() netip.Addr {
	return r.Clients.Masked().Addr().Next()
}

// Table is all regions and the round-trip times between them.
type Table struct {
	regions []Region
	byName  map[string]int
	// rtts[i][j] is the round-trip time from region i to region j.
	rtts [][]time.Duration
}

// file is the YAML as written.
type file struct {
	SameRegionRTTMillis float64                       `yaml:"same_region_rtt_ms"`
	Regions             []Region                      `yaml:"regions"`
	RTTMillis           map[string]map[string]float64 `yaml:"rtt_ms"`
}

// Load reads and checks the table in the named file of fsys.
func Load(fsys fs.FS, name string) (*Table, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("regions: %w", err)
	}
	t, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// Parse reads and checks a table. Unknown keys, missing pairs and overlapping
// client networks are errors; errors of syntax name the line and column.
func Parse(text []byte) (*Table, error) {
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("regions: table has %d bytes, more than %d", len(text), fileBytesMax)
	}
	var f file
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("regions: %w", err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("regions: %w", err)
	}
	return f.table(), nil
}

// table builds the look-up form of a checked file.
func (f file) table() *Table {
	t := &Table{regions: f.Regions, byName: make(map[string]int, len(f.Regions))}
	for i, from := range f.Regions {
		t.byName[from.Name] = i
		row := make([]time.Duration, len(f.Regions))
		for j, to := range f.Regions {
			row[j] = millis(f.RTTMillis[from.Name][to.Name])
		}
		row[i] = millis(f.SameRegionRTTMillis)
		t.rtts = append(t.rtts, row)
	}
	return t
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// Regions gives every region in the file's order; the first ones are the
// lab's defaults.
func (t *Table) Regions() []Region { return slices.Clone(t.regions) }

// Region gives the region of that name.
func (t *Table) Region(name string) (Region, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Region{}, false
	}
	return t.regions[i], true
}

// RTT gives the round-trip time from region a to region b. Within one region
// it is the access network's. A region that the table does not have is at no
// distance, 0.
func (t *Table) RTT(a, b string) time.Duration {
	i, okA := t.byName[a]
	j, okB := t.byName[b]
	if !okA || !okB {
		return 0
	}
	return t.rtts[i][j]
}

// ByAddr says which region's client network has the address. An IPv4 address
// mapped into IPv6 counts as the IPv4 address.
func (t *Table) ByAddr(addr netip.Addr) (Region, bool) {
	addr = addr.Unmap()
	for _, r := range t.regions {
		if r.Clients.Contains(addr) {
			return r, true
		}
	}
	return Region{}, false
}

// ClientAddr gives the address of the named region's simulated client; it is
// the zero Addr, which is not valid, where the table has no such region.
func (t *Table) ClientAddr(name string) netip.Addr {
	r, ok := t.Region(name)
	if !ok {
		return netip.Addr{}
	}
	return r.ClientAddr()
}
