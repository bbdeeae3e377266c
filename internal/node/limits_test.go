package node

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/internal/config"
	"weir/storage"
)

// TestDiskLimitsOfTheConfiguration asks for objects of 256 KiB and of 2 MiB through
// nodes that differ in what their file says of the disk: the limits hold for what is
// stored there, and for nothing else.
func TestDiskLimitsOfTheConfiguration(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := 256 << 10
		if strings.HasPrefix(r.URL.Path, "/long") {
			size = 2 << 20
		}
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))
	defer origin.Close()
	for _, row := range []struct {
		limits string
		stored func(short, long int) bool
		want   string
	}{
		{"", func(short, long int) bool { return short == 40 && long == 4 }, "40 and 4"},
		{"disk_object_max: 1MiB", func(short, long int) bool { return short == 40 && long == 0 }, "40 and 0"},
		// A burst is allowed (evict.AdmissionOptions): some of it is written, and not all.
		{"disk_write_max: 1KiB", func(short, long int) bool { return short > 0 && short < 20 && long <= 1 }, "some"},
	} {
		t.Run(row.limits, func(t *testing.T) {
			edge := startPurging(t, func(c *config.Config) {
				read := parseLimits(t, row.limits)
				c.PoPs[0].Memory = 0
				c.PoPs[0].Disk, c.PoPs[0].DiskWriteMax, c.PoPs[0].DiskObjectMax = read.Disk, read.DiskWriteMax, read.DiskObjectMax
				c.Sites[0].Origin.HTTP.URL = origin.URL
			})
			for i := range 40 {
				if _, body := send(t, "GET", fmt.Sprintf("http://%s/short/%d", edge.HTTPAddr(), i)); len(body) != 256<<10 {
					t.Fatalf("%d bytes", len(body))
				}
			}
			for i := range 4 {
				if _, body := send(t, "GET", fmt.Sprintf("http://%s/long/%d", edge.HTTPAddr(), i)); len(body) != 2<<20 {
					t.Fatalf("%d bytes", len(body))
				}
			}
			short, long := onDisk(t, edge)
			if !row.stored(short, long) {
				t.Errorf("%d short objects and %d long ones are on disk: want %s", short, long, row.want)
			}
		})
	}
}

// parseLimits gives the PoP of a file with these lines.
func parseLimits(t *testing.T, limits string) *config.PoP {
	t.Helper()
	c, faults := config.Parse([]byte(strings.Replace(`tokens: {api: 0123456789abcdef, tier: fedcba9876543210, nats: 00112233445566ff}
shields: [{name: s1, region: eu, listen: 127.0.0.1:7300}]
pops:
  - {name: ams, region: eu, lat: 52, lon: 4.7, http: 127.0.0.1:7080, admin: 127.0.0.1:7090, disk: 64MiB, LIMITS}
sites: [{name: www, hosts: ["*"], origin: {http: {url: "http://127.0.0.1:9000"}}}]
`, ", LIMITS", strings.TrimSuffix(", "+limits, ", "), 1)), "test.yaml", "/")
	if faults != nil {
		t.Fatal(faults)
	}
	return c.PoPs[0]
}

// onDisk counts what an edge has on its disk, by length of the body.
func onDisk(t *testing.T, edge *Edge) (short, long int) {
	t.Helper()
	for after, more := "", true; more; more = after != "" {
		keys, next, err := edge.disk.Walk(after, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			o, err := edge.disk.Get(k)
			if err != nil {
				continue
			}
			switch bytes := o.Meta().BodyBytes; {
			case bytes == 256<<10:
				short++
			case bytes == 2<<20:
				long++
			}
			if o.Tier() != storage.TierDisk {
				t.Errorf("%v", o.Tier())
			}
			_ = o.Close()
		}
		after = next
	}
	return short, long
}
