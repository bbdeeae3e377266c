package explain

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"weir/cache"
)

// Explainer explains a request; *httpcache.Handler is one.
type Explainer interface {
	Explain(*http.Request) (cache.Explanation, error)
}

// Answerer gives the function by which a node answers control's questions.
func Answerer(h Explainer) func(question []byte) []byte {
	return func(asked []byte) []byte {
		x, err := answer(h, asked)
		r := reply{Explanation: &x}
		if err != nil {
			r = reply{Error: err.Error()}
		}
		text, err := json.Marshal(r)
		if err == nil && len(text) > replyBytesMax {
			text, err = json.Marshal(reply{Error: fmt.Sprintf("the explanation has more than %d bytes", replyBytesMax)})
		}
		if err != nil {
			return nil // texts and numbers always have a JSON form
		}
		return text
	}
}

func answer(h Explainer, asked []byte) (cache.Explanation, error) {
	var q question
	if err := json.Unmarshal(asked, &q); err != nil {
		return cache.Explanation{}, fmt.Errorf("read question: %w", err)
	}
	r, err := q.request()
	if err != nil {
		return cache.Explanation{}, fmt.Errorf("read question: %w", err)
	}
	return h.Explain(r)
}

// request is the GET that the question is about, as a server would have read it.
func (q *question) request() (*http.Request, error) {
	target, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return nil, err
	}
	header := make(http.Header, len(q.Header))
	for name, values := range q.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return &http.Request{
		Method: http.MethodGet, Host: q.Host, URL: target, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}
