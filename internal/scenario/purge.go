package scenario

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"weir/purge"
)

// apiAnswer is what control's API answers.
type apiAnswer struct {
	Version  uint64
	Repeated bool
	Nodes    []purge.Receipt
	Pending  []string
	Missing  []string
	Error    string
}

// purge calls control's API with the input as body, or one made of the
// arguments, and shows the last answer.
func (s *script) purge(a *args) (string, error) {
	s.cluster.used = true
	body := []byte(a.data.Input)
	if len(body) == 0 {
		fields := map[string]any{"scope": a.text("scope", ""), "mode": a.text("mode", "hard")}
		if site := a.text("site", siteName); fields["scope"] != "all" || site != siteName {
			fields["site"] = site
		}
		if targets := a.list("targets"); len(targets) > 0 {
			fields["targets"] = targets
		}
		if key := a.text("key", ""); key != "" {
			fields["idempotency_key"] = key
		}
		body, _ = json.Marshal(fields) // strings only
	}
	target := "/v1/purges"
	if wait := a.text("wait", ""); wait != "" {
		target += "?wait=" + a.text("for", "all") + "&timeout=" + wait
	}
	var recorder *httptest.ResponseRecorder
	for range a.number("n", 1) {
		recorder = s.call(http.MethodPost, target, body)
	}
	var answer apiAnswer
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		return "", err
	}
	text := answer.show(recorder.Code)
	if after := recorder.Header().Get("Retry-After"); recorder.Code == http.StatusTooManyRequests {
		text += "Retry-After: " + after + "\n"
	}
	return text, nil
}

// call asks control's API.
func (s *script) call(method, target string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, bytes.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+apiToken)
	recorder := httptest.NewRecorder()
	s.cluster.control.ServeHTTP(recorder, request)
	return recorder
}

// receipts asks how far each node is with a purge.
func (s *script) receipts(a *args) (string, error) {
	s.cluster.used = true
	target := fmt.Sprintf("/v1/purges/%d", a.number("version", 1))
	if wait := a.text("wait", ""); wait != "" {
		target += "?wait=" + a.text("for", "all") + "&timeout=" + wait
	}
	recorder := s.call(http.MethodGet, target, nil)
	var answer purge.Progress
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil && recorder.Code < 400 {
		return "", err
	}
	var b strings.Builder
	fmt.Fprint(&b, recorder.Code)
	if answer.Version > 0 {
		fmt.Fprintf(&b, " %s %s, %d targets, by %s at %s", answer.Scope, answer.Mode, answer.TargetsCount, answer.Who, answer.At.UTC().Format(time.TimeOnly))
	}
	if answer.Error != "" {
		fmt.Fprintf(&b, " %s", answer.Error)
	}
	b.WriteByte('\n')
	for _, n := range answer.Nodes {
		switch {
		case !n.Applied:
			fmt.Fprintf(&b, "%s has %d, ", n.Node, n.Version)
		case n.MS == nil:
			fmt.Fprintf(&b, "%s has it, ", n.Node)
		default:
			fmt.Fprintf(&b, "%s has it after %g ms, ", n.Node, *n.MS)
		}
		fmt.Fprintf(&b, "%d behind\n", n.Lag)
	}
	return b.String(), nil
}

// show prints the receipts by node: those of one moment come in any order.
func (w *apiAnswer) show(status int) string {
	var b strings.Builder
	fmt.Fprint(&b, status)
	if w.Version > 0 {
		fmt.Fprintf(&b, " version %d", w.Version)
	}
	if w.Repeated {
		b.WriteString(" again")
	}
	if w.Error != "" {
		fmt.Fprintf(&b, " %s", w.Error)
	}
	b.WriteByte('\n')
	slices.SortFunc(w.Nodes, func(x, y purge.Receipt) int { return cmp.Compare(x.Node, y.Node) })
	for _, r := range w.Nodes {
		fmt.Fprintf(&b, "%s has %d", r.Node, r.Version)
		if r.MS != nil {
			fmt.Fprintf(&b, " after %g ms", *r.MS)
		}
		b.WriteByte('\n')
	}
	for _, name := range w.Pending {
		fmt.Fprintf(&b, "%s pending\n", name)
	}
	for _, name := range w.Missing {
		fmt.Fprintf(&b, "%s has not\n", name)
	}
	return b.String()
}

// log does to the purge log what the command says.
func (s *script) log(a *args) (string, error) {
	word, err := a.word()
	if err != nil {
		return "", err
	}
	switch word {
	case "down", "up":
		s.cluster.purges.SetDown(word == "down")
	case "trim":
		s.cluster.purges.Trim(uint64(a.number("first", 1)))
	case "replace":
		return "", s.cluster.newEpoch()
	default:
		return "", fmt.Errorf("log %s: want down, up, trim or replace", word)
	}
	return "", nil
}
