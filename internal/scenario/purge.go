package scenario

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"weir/purge"
)

// apiAnswer is what control's API answers.
type apiAnswer struct {
	Version uint64
	Nodes   []purge.Receipt
	Missing []string
	Error   string
}

// purge calls control's API with the input as body, or one made of the
// arguments.
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
		body, _ = json.Marshal(fields) // strings only
	}
	target := "/v1/purges"
	if wait := a.text("wait", ""); wait != "" {
		target += "?wait=all&timeout=" + wait
	}
	request := httptest.NewRequest(http.MethodPost, target, strings.NewReader(string(body)))
	request.Header.Set("Authorization", "Bearer "+apiToken)
	recorder := httptest.NewRecorder()
	s.cluster.control.ServeHTTP(recorder, request)
	var answer apiAnswer
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		return "", err
	}
	return answer.show(recorder.Code), nil
}

// show prints the receipts by node: those of one moment come in any order.
func (w *apiAnswer) show(status int) string {
	var b strings.Builder
	fmt.Fprint(&b, status)
	if w.Version > 0 {
		fmt.Fprintf(&b, " version %d", w.Version)
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
