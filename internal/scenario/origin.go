package scenario

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/cache/rfc9110"
)

// reply is what the origin answers to requests of a target.
type reply struct {
	method, target string
	whenField      string // "" for every request
	whenValue      string
	status         int
	header         http.Header
	body           []byte
	delay          time.Duration // before the header
	pause          time.Duration // in the middle of the body
	chunked        bool          // the length is not announced
	drop           bool          // the connection breaks in the middle of the body
	hang           bool          // no header ever
	no304          bool          // conditions are ignored
	ranges         bool          // one range is answered
}

// asked is one request that the origin has seen.
type asked struct {
	at     time.Time
	method string
	target string // with the host
	header http.Header
	bytes  int64 // of the body
	status int   // of the answer; 0 while there is none
}

// scriptedOrigin answers as the script says, and keeps what it was asked.
type scriptedOrigin struct {
	mu      sync.Mutex // guards all below
	replies []*reply
	log     []*asked
}

// originReply puts a reply in place of the one with the same method, target
// and condition.
func (s *script) originReply(a *args) (string, error) {
	p := &reply{
		method: a.text("method", ""), target: a.text("path", ""),
		delay: a.duration("delay"), pause: a.duration("pause"), chunked: a.flag("chunked"),
		drop: a.flag("drop"), hang: a.flag("hang"), no304: a.flag("no304"),
		ranges: a.flag("ranges"),
		body:   numbered(a.bytes("size")),
	}
	if when := a.text("when", ""); when != "" {
		name, value, _ := strings.Cut(when, ":")
		p.whenField, p.whenValue = name, strings.TrimSpace(value)
	}
	if !strings.HasPrefix(p.target, "/") {
		return "", fmt.Errorf("wants path=/…")
	}
	if err := p.parse(a.data.Input); err != nil {
		return "", err
	}
	s.cluster.origin.set(p)
	return "", nil
}

// parse reads "[status]\n[Field: value]…\n\n[body]".
func (p *reply) parse(input string) error {
	first, rest, _ := strings.Cut(input, "\n")
	p.status = http.StatusOK
	word, _, _ := strings.Cut(first, " ")
	if status, err := strconv.Atoi(word); err == nil {
		p.status, input = status, rest
	}
	header, body, err := parseMessage(input)
	p.header = header
	if len(body) > 0 {
		p.body = []byte(body)
	}
	return err
}

// parseMessage reads header lines, an empty line and a body. Without header
// lines there is no empty line either: datadriven takes away what is empty at
// the start.
func parseMessage(input string) (http.Header, string, error) {
	header := make(http.Header)
	for input != "" {
		line, rest, _ := strings.Cut(input, "\n")
		name, value, found := strings.Cut(line, ":")
		if !found && line != "" && len(header) == 0 {
			break
		}
		input = rest
		if line == "" {
			break
		}
		if !found {
			return nil, "", fmt.Errorf("%q: want a header line, or an empty line before the body", line)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		header[name] = append(header[name], strings.TrimSpace(value))
	}
	return header, input, nil
}

// numbered makes a body of which every 16 bytes say where they are.
func numbered(size int) []byte {
	b := make([]byte, 0, size+16)
	for len(b) < size {
		b = fmt.Appendf(b, "%015d\n", len(b))
	}
	return b[:size]
}

func (o *scriptedOrigin) set(p *reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replies = slices.DeleteFunc(o.replies, func(q *reply) bool {
		return q.method == p.method && q.target == p.target && q.whenField == p.whenField && q.whenValue == p.whenValue
	})
	o.replies = append(o.replies, p)
}

// find gives the reply that says most about the request.
func (o *scriptedOrigin) find(r *http.Request) *reply {
	o.mu.Lock()
	defer o.mu.Unlock()
	best, bestScore := &reply{status: http.StatusNotFound, body: []byte("the origin has no such path\n")}, -1
	for _, p := range o.replies {
		if p.target != r.RequestURI || p.method != "" && p.method != r.Method ||
			p.whenField != "" && r.Header.Get(p.whenField) != p.whenValue {
			continue
		}
		score := len(p.method) + len(p.whenField)
		if score > bestScore {
			best, bestScore = p, score
		}
	}
	return best
}

// ServeHTTP answers as the script says.
func (o *scriptedOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := &asked{at: time.Now(), method: r.Method, target: r.Host + r.RequestURI, header: r.Header.Clone()}
	o.mu.Lock()
	o.log = append(o.log, entry)
	o.mu.Unlock()
	size, _ := io.Copy(io.Discard, r.Body)
	p := o.find(r)
	status := p.status
	if !p.no304 && p.notModified(r) {
		status = http.StatusNotModified
	}
	part, status := p.part(r, status)
	if p.hang {
		status = 0
	}
	o.mu.Lock()
	entry.bytes, entry.status = size, status
	o.mu.Unlock()
	part.send(w, r, status)
}

// notModified says whether the client has what would be sent (RFC 9110
// sections 13.1.2 and 13.1.3).
func (p *reply) notModified(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || p.status != http.StatusOK {
		return false
	}
	tag, changed := p.header.Get("ETag"), p.header.Get("Last-Modified")
	if condition := r.Header.Get("If-None-Match"); condition != "" {
		return tag != "" && strings.Contains(condition, strings.TrimPrefix(tag, "W/"))
	}
	return changed != "" && r.Header.Get("If-Modified-Since") == changed
}

// part is the reply to a request for one range, if the script lets the origin
// answer those (RFC 9110 section 14.2).
func (p *reply) part(r *http.Request, status int) (*reply, int) {
	if !p.ranges || status != http.StatusOK {
		return p, status
	}
	size := int64(len(p.body))
	ranges, verdict := rfc9110.Select(r.Method, r.Header, p.header, size)
	cut := *p
	cut.header = p.header.Clone()
	switch {
	case verdict == rfc9110.Unsatisfiable:
		cut.body = nil
		cut.header.Set("Content-Range", rfc9110.UnsatisfiedRange(size))
		return &cut, http.StatusRequestedRangeNotSatisfiable
	case verdict == rfc9110.Satisfiable && len(ranges) == 1:
		cut.body = p.body[ranges[0].Start : ranges[0].Start+ranges[0].Length]
		cut.header.Set("Content-Range", ranges[0].ContentRange(size))
		return &cut, http.StatusPartialContent
	}
	return p, status
}

// send writes the reply, or as much of it as the script wants.
func (p *reply) send(w http.ResponseWriter, r *http.Request, status int) {
	wait(r, p.delay)
	if p.hang {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	if status == http.StatusNotModified {
		w.Header().Del("Content-Type")
		w.WriteHeader(status)
		return
	}
	if !p.chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	}
	w.WriteHeader(status)
	half := len(p.body) / 2
	_, _ = w.Write(p.body[:half])
	if p.chunked || p.pause > 0 || p.drop {
		_ = http.NewResponseController(w).Flush()
	}
	wait(r, p.pause)
	if p.drop {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(p.body[half:])
}

// wait is a sleep that ends with the request.
func wait(r *http.Request, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// conditional are the request fields that origin-log always shows.
var conditional = []string{"Authorization", "If-None-Match", "If-Modified-Since", "If-Match", "If-Range", "Range"}

// takeLog gives what the origin was asked since the last call, oldest first.
// Requests of one instant are sorted: their order means nothing.
func (o *scriptedOrigin) takeLog(fields []string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.log) == 0 {
		return "nothing\n"
	}
	type line struct {
		at   time.Time
		text string
	}
	lines := make([]line, 0, len(o.log))
	for _, e := range o.log {
		lines = append(lines, line{e.at, e.String(fields)})
	}
	o.log = nil
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.text, b.text)) })
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
	}
	return b.String()
}

// String shows a request as "GET www.test/a If-None-Match: "v1" → 304".
func (e *asked) String(fields []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.method, e.target)
	for _, name := range slices.Concat(conditional, fields) {
		if value := strings.Join(e.header.Values(name), ", "); value != "" {
			fmt.Fprintf(&b, ", %s: %s", name, value)
		}
	}
	if e.bytes > 0 {
		fmt.Fprintf(&b, ", %d bytes", e.bytes)
	}
	if e.status == 0 {
		b.WriteString(" → no answer\n")
	} else {
		fmt.Fprintf(&b, " → %d\n", e.status)
	}
	return b.String()
}
