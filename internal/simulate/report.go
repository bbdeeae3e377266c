package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"weir/storage/evict"
)

// report is all that a run found out.
type report struct {
	Trace          string     `json:"trace"`
	Requests       int        `json:"requests"`
	Objects        int        `json:"objects"`
	FootprintBytes int64      `json:"footprint_bytes"`
	SkippedLines   int        `json:"skipped_lines"`
	PassedRequests int        `json:"passed_requests"`
	Policy         evict.Kind `json:"policy"`
	MemoryBytes    int64      `json:"memory_bytes"`
	DiskBytes      int64      `json:"disk_bytes"`
	*ratios                   // nil if there was no tier
	Curve          []point    `json:"curve,omitempty"`
	CurvePath      string     `json:"curve_file,omitempty"`
}

// ratios are of requests and bytes from the first one on, with no warm-up.
type ratios struct {
	ObjectHitRatio       float64 `json:"object_hit_ratio"`
	ByteHitRatio         float64 `json:"byte_hit_ratio"`
	DiskWriteRatio       float64 `json:"disk_write_ratio"`
	MemoryObjectHitRatio float64 `json:"memory_object_hit_ratio"`
	MemoryByteHitRatio   float64 `json:"memory_byte_hit_ratio"`
	DiskObjectHitRatio   float64 `json:"disk_object_hit_ratio"`
	DiskByteHitRatio     float64 `json:"disk_byte_hit_ratio"`
}

func ratiosOf(c Counts) *ratios {
	return &ratios{
		ObjectHitRatio: c.ObjectHitRatio(), ByteHitRatio: c.ByteHitRatio(), DiskWriteRatio: c.DiskWriteRatio(),
		MemoryObjectHitRatio: ratio(c.MemoryHits, c.Requests), MemoryByteHitRatio: ratio(c.MemoryHitBytes, c.Bytes),
		DiskObjectHitRatio: ratio(c.DiskHits, c.Requests), DiskByteHitRatio: ratio(c.DiskHitBytes, c.Bytes),
	}
}

func (r report) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r report) printTables(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d requests for %d objects, footprint %s\n", r.Trace, r.Requests, r.Objects, round(r.FootprintBytes))
	if r.PassedRequests > 0 {
		fmt.Fprintf(&b, "%d requests are left out: they are not for a cache\n", r.PassedRequests)
	}
	if r.ratios != nil {
		r.tiersTable(&b)
	}
	if r.Curve != nil {
		fmt.Fprintf(&b, "\nhits by size, all of it memory (policy %s) or all of it disk:\n", r.Policy)
		r.curveTable(&b)
		fmt.Fprintf(&b, "drawn in %s\n", r.CurvePath)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newTable(b *strings.Builder) *tabwriter.Writer {
	b.WriteByte('\n')
	return tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
}

// tiersTable has a row for each tier. Writes to a strings.Builder do not fail.
func (r report) tiersTable(b *strings.Builder) {
	t := newTable(b)
	fmt.Fprint(t, "tier\tsize\tof footprint\tpolicy\tobject hits\tbyte hits\t\n")
	row := func(name string, bytes int64, policy string, objects, hitBytes float64) {
		share := ratio(bytes, r.FootprintBytes)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, round(bytes), percent(share), policy, percent(objects), percent(hitBytes))
	}
	if r.MemoryBytes > 0 {
		row("memory", r.MemoryBytes, r.Policy.String(), r.MemoryObjectHitRatio, r.MemoryByteHitRatio)
	}
	if r.DiskBytes > 0 {
		row("disk", r.DiskBytes, "ring", r.DiskObjectHitRatio, r.DiskByteHitRatio)
	}
	row("all", r.MemoryBytes+r.DiskBytes, "", r.ObjectHitRatio, r.ByteHitRatio)
	_ = t.Flush()
	if r.DiskBytes > 0 {
		fmt.Fprintf(b, "\ndisk writes: %.3f bytes for each byte asked for\n", r.DiskWriteRatio)
	}
}

func (r report) curveTable(b *strings.Builder) {
	t := newTable(b)
	fmt.Fprint(t, "size\tof footprint\tmemory objects\tmemory bytes\tdisk objects\tdisk bytes\tdisk writes\t\n")
	for _, p := range r.Curve {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t\n", round(p.Bytes), percent(p.FootprintShare),
			percent(p.MemoryObjectHitRatio), percent(p.MemoryByteHitRatio),
			percent(p.DiskObjectHitRatio), percent(p.DiskByteHitRatio), p.DiskWriteRatio)
	}
	_ = t.Flush()
	b.WriteByte('\n')
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }
