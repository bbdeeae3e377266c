package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/lab/regions"
	"weir/internal/ready"
)

// TestTable measures from two regions over all protocols, and reads the table.
func TestTable(t *testing.T) {
	w := newWorld(t, "ams", "sin")
	if tryBind(w.regions[0]) != nil {
		t.Skip("this system has 127.0.0.1 alone on loopback")
	}
	var mu sync.Mutex
	var last, calls int
	var out bytes.Buffer
	err := Run(t.Context(), Options{
		Ready: w.ready, Path: "/page?a=1", Regions: w.region(t, "fra", "syd"), Cold: 2, Warm: 5,
		Progress: func(done, total int) {
			mu.Lock()
			defer mu.Unlock()
			last, calls = done, calls+1
			if total != 2*3*7 {
				t.Errorf("total %d", total)
			}
		},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if last != 42 || calls != 42 {
		t.Errorf("progress ended at %d after %d calls", last, calls)
	}
	text := out.String()
	for _, want := range []string{"GET /page?a=1: 2 cold and 5 warm", "opens a new connection", "ttfb  from dialling"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	checkTable(t, text)
	checkRequests(t, w)
}

// checkTable compares the twelve rows, in order, and that columns are aligned.
func checkTable(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(strings.Split(text, "\n\n")[1], "\n")
	if len(lines) != 13 {
		t.Fatalf("table\n%s", text)
	}
	column := strings.Index(lines[0], "outcome")
	i := 0
	for _, place := range []string{"fra +ams", "syd +sin"} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
			for _, state := range []string{"cold +2", "warm +5"} {
				i++
				outcome := "miss"
				if strings.HasPrefix(state, "warm") {
					outcome = "hit memory"
				}
				want := "^" + place + " +" + protocol + " +" + state + `( +\d+\.\d){6}  ` + outcome + "$"
				if !regexp.MustCompile(want).MatchString(lines[i]) || strings.Index(lines[i], outcome) != column {
					t.Errorf("line %d\n%q, want\n%s", i, lines[i], want)
				}
			}
		}
	}
}

// checkRequests looks at what reached the PoPs: bound to the right address, in
// the right protocol, each on a connection of its own, with fresh queries.
func checkRequests(t *testing.T, w *world) {
	t.Helper()
	for pop, source := range map[string]string{"ams": "127.106.0.1", "sin": "127.112.0.1"} {
		from, queries, majors := make(map[string]int), make(map[string]int), make(map[int]int)
		for _, r := range w.requests(pop) {
			from[r.Proto+r.RemoteAddr]++
			queries[r.URL.RawQuery]++
			majors[r.ProtoMajor]++
			if got := host(t, r.RemoteAddr); got != source {
				t.Errorf("%s was asked by %s", pop, got)
			}
			if r.URL.Path != "/page" || !strings.HasPrefix(r.URL.RawQuery, "a=1") || r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("request %s %v", r.URL, r.Header)
			}
		}
		if len(from) != 24 || majors[1] != 8 || majors[2] != 8 || majors[3] != 8 {
			t.Errorf("%s: %d connections, protocols %v; want 24, 8 of each", pop, len(from), majors)
		}
		if len(queries) != 7 || queries["a=1"] != 18 {
			t.Errorf("%s: queries %v", pop, queries)
		}
	}
}

// TestDistanceShows counts the round trips of a first request: TCP, TLS and the
// request itself; QUIC has the first two in one (RFC 9000 section 7).
func TestDistanceShows(t *testing.T) {
	w := newDistantWorld(t, true, "ams")
	fra := w.region(t, "fra")
	rtt := float64(w.table.RTT("fra", "ams").Milliseconds())
	result, err := runJSON(t, t.Context(), Options{Ready: w.ready, Regions: fra, Cold: -1, Warm: 3})
	if err != nil || len(result.Rows) != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	for i, trips := range []float64{3, 3, 2} {
		if row := result.Rows[i]; row.TTFB == nil || row.TTFB.P50 < trips*rtt || row.Total.P50 < row.TTFB.P50 {
			t.Errorf("%s: %+v, want at least %v round trips of %v ms", row.Protocol, row.TTFB, trips, rtt)
		}
	}
}

func runJSON(t *testing.T, ctx context.Context, o Options) (resultJSON, error) {
	t.Helper()
	o.JSON = true
	var out bytes.Buffer
	err := Run(ctx, o, &out)
	var result resultJSON
	if decodeErr := json.Unmarshal(out.Bytes(), &result); decodeErr != nil {
		t.Fatalf("%v (error %v) in %q", decodeErr, err, out.String())
	}
	return result, err
}

func TestSiteThatIgnoresQueries(t *testing.T) {
	w := newWorld(t, "ams")
	w.ignoreQuery = true
	o := Options{Ready: w.ready, Regions: w.regions[:1], Protocols: []Protocol{HTTP2}, Cold: 3, Warm: 2}
	result, err := runJSON(t, t.Context(), o)
	if err != nil || len(result.Rows) != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	cold, warm := result.Rows[0], result.Rows[1]
	if cold.State != "cold" || cold.Outcomes["miss"] != 1 || cold.Outcomes["hit memory"] != 2 {
		t.Errorf("cold %+v", cold)
	}
	if warm.State != "warm" || warm.N != 2 || warm.Outcomes["hit memory"] != 2 || warm.TTFB.P50 <= 0 || warm.Total.P99 < warm.TTFB.P50 {
		t.Errorf("warm %+v", warm)
	}
	if !strings.Contains(strings.Join(result.Notes, "\n"), "leaves the query out of its keys") {
		t.Errorf("notes %q", result.Notes)
	}
}

func TestStatuses(t *testing.T) {
	w := newWorld(t, "ams")
	o := Options{Ready: w.ready, Regions: w.regions[:1], Protocols: []Protocol{HTTP1}, Cold: -1, Warm: 2}
	w.status = http.StatusNotFound
	result, err := runJSON(t, t.Context(), o)
	if err != nil || len(result.Rows) != 1 || result.Rows[0].Outcomes["hit memory (status 404)"] != 2 {
		t.Errorf("%+v, %v", result, err)
	}
	w.status = http.StatusBadGateway
	o.Warm = 9
	result, err = runJSON(t, t.Context(), o)
	if err != nil || len(result.Rows) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	row := result.Rows[0]
	if row.N != 0 || row.Failed != failuresMax || row.Failure != "status 502" || row.TTFB != nil {
		t.Errorf("row %+v", row)
	}
	if !strings.Contains(strings.Join(result.Notes, "\n"), "given up after 3 failures in a row, 6 samples were not taken") {
		t.Errorf("notes %q", result.Notes)
	}
}

// TestNothingListens shows failures of one row that do not touch the others.
func TestNothingListens(t *testing.T) {
	w := newWorld(t, "ams", "sin")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	w.ready.PoPs[1].HTTPS = "https://" + closed.Addr().String()
	var out bytes.Buffer
	err = Run(t.Context(), Options{
		Ready: w.ready, Regions: w.region(t, "ams", "sin"), Cold: 1, Warm: -1,
		Protocols: []Protocol{HTTP1, HTTP3}, Timeout: 500 * time.Millisecond,
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ams +ams +HTTP/1.1 +cold +1 .* miss$`, `(?m)^ams +ams +HTTP/3 +cold +1 .* miss$`,
		`(?m)^sin +sin +HTTP/1.1 +cold +0( +-){6} +1 failed$`, `(?m)^sin +sin +HTTP/3 +cold +0( +-){6} +1 failed$`,
		`sin, HTTP/1.1, cold: 1 failed, the first: .*refused`, `sin, HTTP/3, cold: 1 failed, the first: timed out`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// TestAnotherCA shows that certificates are verified.
func TestAnotherCA(t *testing.T) {
	w, other := newWorld(t, "ams"), newWorld(t, "ams")
	w.ready.CAFile = other.ready.CAFile
	result, err := runJSON(t, t.Context(), Options{Ready: w.ready, Regions: w.regions[:1], Cold: 1, Warm: -1})
	if err != nil || len(result.Rows) != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, row := range result.Rows {
		if row.Failed != 1 || !strings.Contains(row.Failure, "certificate") {
			t.Errorf("row %+v", row)
		}
	}
}

func TestEndedEarly(t *testing.T) {
	w := newWorld(t, "ams")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.hold = func(r *http.Request) {
		if len(w.requests("ams")) == 4 {
			cancel()
			<-r.Context().Done()
		}
	}
	o := Options{Ready: w.ready, Regions: w.regions[:1], Protocols: []Protocol{HTTP1}, Parallel: 1}
	result, err := runJSON(t, ctx, o)
	if !errors.Is(err, context.Canceled) || !result.EndedEarly {
		t.Errorf("error %v, ended early %v", err, result.EndedEarly)
	}
	// Three cold ones, and the one that warms: the first warm one was cut.
	if len(result.Rows) != 1 || result.Rows[0].N != 3 || result.Rows[0].Failed != 0 {
		t.Errorf("rows %+v", result.Rows)
	}
}

func TestParallelIsALimit(t *testing.T) {
	w := newWorld(t, "ams")
	w.hold = func(*http.Request) { time.Sleep(20 * time.Millisecond) }
	o := Options{Ready: w.ready, Regions: w.regions, Protocols: []Protocol{HTTP1}, Cold: 2, Warm: -1, Parallel: 2}
	result, err := runJSON(t, t.Context(), o)
	if err != nil || len(result.Rows) != 12 {
		t.Fatalf("%d rows, %v", len(result.Rows), err)
	}
	if most := w.most.Load(); most != 2 {
		t.Errorf("%d requests at a time, want 2", most)
	}
}

func TestDefaultAddress(t *testing.T) {
	w := newWorld(t, "ams")
	elsewhere := w.regions[0]
	elsewhere.Clients = elsewhere.Documentation[0] // 192.0.2.0/24 is on no machine
	if tryBind(elsewhere) == nil {
		t.Skip("this system binds to any address")
	}
	o := Options{Ready: w.ready, Regions: []regions.Region{elsewhere}, Cold: 1, Warm: -1}
	result, err := runJSON(t, t.Context(), o)
	if err != nil || len(result.Rows) != 3 || !strings.Contains(strings.Join(result.Notes, "\n"), "from the default address") {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, r := range w.requests("ams") {
		if got := host(t, r.RemoteAddr); got != "127.0.0.1" {
			t.Errorf("asked by %s", got)
		}
	}
}

func TestWhatCannotBeMeasured(t *testing.T) {
	router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("addr") {
		case "127.101.0.1":
			http.Error(w, "there is no PoP to go to", http.StatusServiceUnavailable)
		case "127.102.0.1":
			_, _ = w.Write([]byte(`{"pop":"elsewhere"}`))
		default:
			_, _ = w.Write([]byte(`{"pop":"clear"}`))
		}
	}))
	defer router.Close()
	w := newWorld(t, "ams")
	file := ready.File{Router: router.URL, CAFile: w.ready.CAFile, PoPs: []ready.PoP{{Name: "clear", HTTPS: "http://127.0.0.1:1"}}}
	noCA, badCA := file, file
	noCA.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	badCA.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(badCA.CAFile, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		o    Options
		want string
	}{
		{"no regions", Options{Ready: file}, "Options.Regions"},
		{"no PoPs", Options{Regions: w.regions}, "names no router or no PoPs"},
		{"path", Options{Ready: file, Regions: w.regions, Path: "index.html"}, "must be like /"},
		{"whole URL", Options{Ready: file, Regions: w.regions, Path: "https://example.com/"}, "must be like /"},
		{"bad escape", Options{Ready: file, Regions: w.regions, Path: "/%zz"}, "must be like /"},
		{"too many", Options{Ready: file, Regions: w.regions, Warm: samplesMax + 1}, "samples a row"},
		{"no CA", Options{Ready: noCA, Regions: w.regions}, "read ca_file"},
		{"bad CA", Options{Ready: badCA, Regions: w.regions}, "has no certificate"},
		{"router refuses", Options{Ready: file, Regions: w.region(t, "ams")}, "for the PoP of ams: 503 Service Unavailable: there is no PoP"},
		{"unknown PoP", Options{Ready: file, Regions: w.region(t, "iad")}, `sends iad to PoP "elsewhere"`},
		{"PoP in clear", Options{Ready: file, Regions: w.region(t, "sin")}, "is no https URL"},
	} {
		var out bytes.Buffer
		err := Run(t.Context(), test.o, &out)
		if err == nil || !strings.Contains(err.Error(), test.want) || out.Len() > 0 {
			t.Errorf("%s: error %v, want %q; printed %q", test.name, err, test.want, out.String())
		}
	}
}
