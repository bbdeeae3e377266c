package scenario

import (
	"net/http"
	"net/url"

	"weir/internal/explain"
)

// explain asks each node, edges before the shield, what the request would get,
// and shows what it says in plain words.
func (s *script) explain(a *args) (string, error) {
	s.cluster.used = true
	header, _, err := parseMessage(a.data.Input)
	if err != nil {
		return "", err
	}
	target, err := url.ParseRequestURI(a.text("path", ""))
	if err != nil {
		return "", err
	}
	r := &http.Request{Method: http.MethodGet, Host: a.text("host", siteHost), URL: target, Header: header}
	edges, own := "", ""
	for _, n := range s.cluster.order {
		result := explain.NodeResult{Node: n.name}
		x, err := n.running.handler.Explain(r)
		if result.Explanation = &x; err != nil {
			result.Explanation, result.Error = nil, err.Error()
		}
		line := result.Sentence() + "\n"
		if n.isShield() {
			own += line
			continue
		}
		edges += line
	}
	return edges + own, nil
}
