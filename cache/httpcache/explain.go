package httpcache

import (
	"net/http"

	"weir/cache"
)

// Explain says what the node knows of a request and what it would get now (see
// cache.Engine.Explain). Of r, Method, Host, URL and Header count, as a server
// would have read them. What is no request that reaches the engine is a
// *Refusal, such as one for a host that no site answers for here.
//
// A shield is asked by edges, whose fills have the header fields that choose
// the variant in the one form that the site's policy gives them.
func (h *Handler) Explain(r *http.Request) (cache.Explanation, error) {
	request, refusal := h.read(r)
	if refusal != nil {
		return cache.Explanation{}, refusal
	}
	if h.Face == FaceEdges {
		header := r.Header.Clone()
		request.Site.Policy.Negotiate(header)
		request.Fields = header
	}
	return h.Engine.Explain(request), nil
}
