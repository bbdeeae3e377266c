package httpcache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"weir/cache"
	"weir/cache/rfc9111"
)

// failed says that upstream gave nothing (RFC 9209 says why) and that nobody
// may keep this answer. A client whose own body did not arrive is told so.
func (o *writer) failed(a *cache.Answer) {
	o.tiers(a)
	o.access.Err = a.Err
	if refusal := o.request.failure(); refusal != nil {
		o.proxyStatus(refusal.Type)
		o.plain(refusal.Status, refusal.Text)
		return
	}
	text := "The origin could not be reached, and no stored copy may be used."
	switch {
	case a.Reason == cache.ReasonOnlyIfCached:
		text = "Nothing usable is stored, and the request said only-if-cached."
	case a.Reason == cache.ReasonUntrusted:
		o.w.Header().Set("Retry-After", "1")
		text = "This node has lost touch with the purge log, and does not answer until it is back."
	case a.Err.Relayed:
		text = "The origin answered with an error."
	}
	if a.FwdStatus >= http.StatusInternalServerError && a.FwdStatus == a.Err.Status {
		// What upstream said is no error of this node's (RFC 9209 section 2.1.4).
		status := rfc9111.AppendProxyStatus(nil, o.h.Node, "", "")
		appendList(o.w.Header(), "Proxy-Status", fmt.Sprintf("%s;received-status=%d", status, a.FwdStatus))
	} else {
		o.proxyStatus(a.Err.Type)
	}
	o.plain(a.Err.Status, text)
}

// proxyStatus says in Proxy-Status why this node made the answer up.
func (o *writer) proxyStatus(kind string) {
	if kind != "" {
		appendList(o.w.Header(), "Proxy-Status", string(rfc9111.AppendProxyStatus(nil, o.h.Node, kind, "")))
	}
}

// refuse answers a request that did not reach the engine. The connection is
// closed after a malformed one: what follows it may be its tail.
func (o *writer) refuse(f *Refusal) {
	switch f.Status {
	case http.StatusBadRequest:
		if o.r.ProtoMajor == 1 {
			o.w.Header().Set("Connection", "close")
		}
	case http.StatusMethodNotAllowed:
		o.w.Header().Set("Allow", "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")
	}
	o.w.Header().Set("Via", "1.1 "+o.h.Node)
	status := rfc9111.CacheStatus{Node: o.h.Node, Detail: "refused"}
	o.w.Header().Set("Cache-Status", string(status.Append(nil)))
	o.proxyStatus(f.Type)
	o.plain(f.Status, f.Text)
}

// malformed answers 502 in place of a response that cannot be relayed.
func (o *writer) malformed(a *cache.Answer, kind, text string) {
	o.access.Err = fmt.Errorf("httpcache: upstream's response with status %d: %s", a.Response.StatusCode, text)
	header := o.w.Header()
	for _, name := range []string{"Trailer", "Connection", "Upgrade"} {
		header.Del(name)
	}
	o.proxyStatus(kind)
	o.plain(http.StatusBadGateway, "The origin's response cannot be relayed: "+text+".")
}

// plain writes a short answer of this node's own, which nobody may keep.
func (o *writer) plain(status int, text string) {
	body := fmt.Sprintf("%d %s\n\n%s\n", status, http.StatusText(status), text)
	header := o.w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	o.begin(status)
	if o.r.Method != http.MethodHead {
		n, _ := io.WriteString(o.w, body)
		o.access.Bytes = int64(n)
	}
}
