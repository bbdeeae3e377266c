// Command mmdbgen writes the lab's location database from its table of regions:
// a City database in MaxMind's format whose networks are the regions' client
// networks and documentation networks. The same table gives the same bytes.
//
//	go run ./internal/lab/regions/mmdbgen -o testdata/regions/lab.mmdb
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"weir/internal/lab/regions"
)

func main() {
	in := flag.String("i", "testdata/regions/regions.yaml", "the table of regions")
	out := flag.String("o", "", "the database to write")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "mmdbgen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	if out == "" {
		return fmt.Errorf("no output file: give -o FILE")
	}
	table, err := regions.Load(os.DirFS(filepath.Dir(in)), filepath.Base(in))
	if err != nil {
		return err
	}
	database, err := generate(table.Regions())
	if err != nil {
		return err
	}
	return os.WriteFile(out, database, 0o644)
}

// buildEpoch is the date of the published table, so that a database depends on
// nothing but the regions.
func buildEpoch() time.Time { return time.Date(2024, time.April, 10, 0, 0, 0, 0, time.UTC) }

// generate gives the database's bytes.
func generate(all []regions.Region) ([]byte, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch: buildEpoch().Unix(),
		// Readers answer City look-ups for the types that they know only.
		DatabaseType: "GeoIP2-City",
		Description:  map[string]string{"en": "Regions of weir's lab: loopback clients and documentation networks"},
		Languages:    []string{"en"},
		RecordSize:   24,
		// Loopback and documentation networks are all that it has.
		IncludeReservedNetworks: true,
	})
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		for _, network := range append([]netip.Prefix{r.Clients}, r.Documentation...) {
			if err := tree.Insert(ipNet(network), record(r)); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", network, r.Name, err)
			}
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// record is a region in the form of a City database.
func record(r regions.Region) mmdbtype.Map {
	return mmdbtype.Map{
		"city":    mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(r.City)}},
		"country": mmdbtype.Map{"iso_code": mmdbtype.String(r.Country)},
		"location": mmdbtype.Map{
			"latitude":  mmdbtype.Float64(r.Lat),
			"longitude": mmdbtype.Float64(r.Lon),
		},
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
