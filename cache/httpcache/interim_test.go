package httpcache_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// hinted watches the interim responses to a request.
type hinted struct {
	mu  sync.Mutex
	got []string
	one chan struct{} // receives once for each
}

func (h *hinted) watch(r *http.Request) *http.Request {
	h.one = make(chan struct{}, 1000)
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			fields := http.Header(header)
			h.got = append(h.got, fmt.Sprint(status, " ", strings.Join(fields.Values("Link"), ", "), len(fields)))
			h.one <- struct{}{}
			return nil
		},
	}))
}

func (h *hinted) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.got, "; ")
}

// RFC 9110 section 15.2, RFC 8297: interim responses are relayed while the
// request waits, for what is passed and for the one who caused a fill.
func TestInterimResponses(t *testing.T) {
	seen := make(chan struct{})
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Link", "</style.css>; rel=preload")
		header.Set("Weir-Secret", "1")
		w.WriteHeader(http.StatusEarlyHints)
		header.Del("Link")
		w.WriteHeader(http.StatusProcessing)
		<-seen // only once the client has had them
		header.Set("Cache-Control", r.URL.Query().Get("cc"))
		_, _ = io.WriteString(w, "final")
	}), settings{})
	c.each(func(t *testing.T, via client) {
		for _, cc := range []string{"no-store", "max-age=60"} {
			var hints hinted
			r := hints.watch(via.request(t, http.MethodGet, fmt.Sprintf("/%d-%p?cc=%s", via.major, t, cc), nil))
			go func() {
				<-hints.one
				<-hints.one
				seen <- struct{}{}
			}()
			response, body := via.do(t, r)
			if want := "103 </style.css>; rel=preload1; 102 0"; hints.String() != want || body != "final" {
				t.Errorf("%s: interim %q, want %q; then %q", cc, &hints, want, body)
			}
			wants(t, cc, response.Header, map[string]string{"Link": "", "Weir-Secret": ""})
			if via.base[:5] == "https" && via.major < 3 && response.Header.Get("Alt-Svc") == "" {
				t.Errorf("%s: the final header has lost a field", cc)
			}
		}
	})
}

// The wait for the final response is as long as upstream takes, whatever the
// time for an interim one was.
func TestInterimThenALongWait(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		time.Sleep(1500 * time.Millisecond)
		_, _ = io.WriteString(w, "final")
	}), settings{})
	var all sync.WaitGroup
	for _, via := range c.clients() {
		all.Go(func() {
			response, err := via.RoundTrip(via.request(t, http.MethodPost, "/", nil))
			if err != nil {
				t.Errorf("%s: %v", via.name, err)
				return
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if string(body) != "final" || err != nil {
				t.Errorf("%s: %q, %v", via.name, body, err)
			}
		})
	}
	all.Wait()
}

// RFC 9110 section 15.2: a client of HTTP/1.0 gets none.
func TestInterimNotToHTTP10(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "final")
	}), settings{})
	for _, method := range []string{"GET", "POST"} {
		answer, err := io.ReadAll(raw(t, c.clear, method+" / HTTP/1.0\r\nHost: a.test\r\n\r\n"))
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") || !strings.HasSuffix(string(answer), "final") {
			t.Errorf("%s: %v, %s", method, err, answer)
		}
	}
}

// The one who caused a fill may be gone, or answered, when upstream sends an
// interim response: nothing of it may reach a response that has ended.
func TestInterimAfterTheOwnerLeft(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-gone
		for range 20 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "final")
	}), settings{})
	via := c.clients()[0]
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := via.RoundTrip(via.request(t, http.MethodGet, "/", nil).WithContext(ctx))
		left <- err
	}()
	<-asked
	cancel()
	if <-left == nil {
		t.Fatal("answered")
	}
	c.accesses(1)
	second := make(chan string, 1)
	go func() {
		_, body := via.get(t, "/")
		second <- body
	}()
	close(gone)
	if body := <-second; body != "final" {
		t.Errorf("the next client got %q", body)
	}
}

// An endless row of interim responses ends in an error.
func TestInterimFlood(t *testing.T) {
	url := scripted(t, func(_ string, conn net.Conn) {
		for range 5000 {
			if _, err := io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
				return
			}
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	c := chainTo(t, settings{origin: originAt(t, url)})
	began := time.Now()
	response, _ := c.clients()[0].get(t, "/")
	if response.StatusCode != http.StatusBadGateway || time.Since(began) > 5*time.Second {
		t.Errorf("%s after %v", response.Status, time.Since(began))
	}
}

// RFC 8297: what the stored page says of the resources that it needs reaches a
// client of HTTP/2 or HTTP/3 while the page is being validated, before upstream
// has said anything.
func TestLearnedHints(t *testing.T) {
	seen := make(chan struct{}, 1)
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", `"1"`)
		header.Set("Link", "</style.css>; rel=preload; as=style, </next>; rel=next")
		if r.Header.Get("If-None-Match") != "" {
			select {
			case <-seen:
			case <-time.After(10 * time.Second):
			}
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "page")
	}), settings{})
	c.each(func(t *testing.T, via client) {
		path := fmt.Sprintf("/%d-%p", via.major, t)
		if _, body := via.do(t, via.request(t, http.MethodGet, path, nil)); body != "page" {
			t.Fatalf("first: %q", body)
		}
		var hints hinted
		r := hints.watch(via.request(t, http.MethodGet, path, nil))
		want := "103 </style.css>; rel=preload; as=style1"
		if via.major < 2 {
			want = ""
			seen <- struct{}{}
		} else {
			go func() {
				<-hints.one
				seen <- struct{}{}
			}()
		}
		response, body := via.do(t, r)
		if hints.String() != want || body != "page" || response.StatusCode != 200 {
			t.Errorf("interim %q, want %q; then %d %q", &hints, want, response.StatusCode, body)
		}
		wants(t, "final", response.Header, map[string]string{"Link": "</style.css>; rel=preload; as=style, </next>; rel=next"})
	})
}
