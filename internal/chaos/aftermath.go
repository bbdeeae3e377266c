package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"weir/internal/history"
	"weir/purge"
)

// aftermath looks at what is left once all faults have ended: every node gets
// well and confirms a purge, every PoP answers with all contents and with nothing
// older, and the log has all that was accepted.
func (w *world) aftermath(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*readyTimeout)
	defer cancel()
	well, done := context.WithTimeout(ctx, readyTimeout)
	defer done()
	if err := w.awaitWell(well); err != nil {
		w.report.broken(fmt.Errorf("after all faults had ended: %w", err))
		return
	}
	if err := w.purgeAll(ctx); err != nil {
		w.report.broken(fmt.Errorf("after all faults had ended: %w", err))
	}
	for _, p := range w.pops {
		for i, protocol := range protocols {
			r := newReader(w, p, protocol, w.random(uint64(i)))
			for _, c := range w.origin.all {
				r.read(ctx, c, func(*content, http.Header) {})
			}
			r.close()
		}
	}
	if err := w.audit(ctx); err != nil {
		w.report.broken(err)
	}
}

// purgeAll purges the site once more, and wants every node to confirm it.
func (w *world) purgeAll(ctx context.Context) error {
	request := purge.Request{Site: siteName, Scope: purge.ScopeSite, Key: "aftermath"}
	values := make(map[string]int)
	for _, c := range w.origin.all {
		values[c.key()] = w.origin.newest(c.key())
	}
	result, err := w.client.Watch(ctx, request, readyTimeout, w.receipt)
	if result.Version > 0 {
		w.accepted(history.Purge{Version: result.Version, What: what(request), Values: values}, request, result, true)
	}
	return err
}

// audit reads the whole log, and looks for every purge that was accepted (P5),
// each once.
func (w *world) audit(ctx context.Context) error {
	w.report.mu.Lock()
	want := maps.Clone(w.report.log)
	newest := w.report.newest
	w.report.mu.Unlock()
	accepted, versions := len(want), make(map[string]uint64)
	for after := uint64(0); after < newest; {
		page, err := w.client.After(ctx, after, 500)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		for _, e := range page.Purges {
			key := strings.TrimPrefix(e.Key, "api/")
			if other := versions[key]; other > 0 {
				return fmt.Errorf("the log has key %s twice, as versions %d and %d", key, other, e.Version)
			}
			versions[key] = e.Version
			if wanted, is := want[e.Version]; is && wanted != key {
				return fmt.Errorf("version %d is that of key %s in the log, and was given to key %s", e.Version, key, wanted)
			}
			delete(want, e.Version)
		}
		if page.Next <= after {
			break
		}
		after = page.Next
	}
	if len(want) > 0 {
		return fmt.Errorf("%d of %d accepted purges are not in the log: versions %v", len(want), accepted, slices.Sorted(maps.Keys(want)))
	}
	return nil
}

func writeJSON(out io.Writer, s Summary) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, strings.NewReader(string(text)+"\n"))
	return err
}
