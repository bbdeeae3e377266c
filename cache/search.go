package cache

import (
	"math/rand/v2"
	"net/http"
	"strings"

	"weir/cache/rfc9111"
	"weir/storage"
)

// No-Vary-Search lets one object answer for queries that differ in what the
// origin says does not matter. The object stands under the text of the query
// that all of them reduce to; what they reduce by is kept beside it for the
// path, so that a look-up which finds nothing under the query as it is can
// reduce it and look once more. That is a hint: whether an object answers a
// request is decided by the object's own field.

const noVarySearch = "No-Vary-Search"

// searchKey names the hint for a path.
func searchKey(site, host, path string) storage.Key {
	return storage.KeyOf(keyText(site, host, path) + "\n?")
}

// reduced is a target whose query is reduced to what matters, by the field of a
// response in h. ok is false if there is nothing to reduce.
func reduced(target string, h http.Header) (_ string, ok bool) {
	path, query, found := strings.Cut(target, "?")
	n := rfc9111.ParseNoVarySearch(h)
	if !found || n.IsZero() {
		return target, false
	}
	if query = rfc9111.SearchKey(query, n); query == "" {
		return path, true
	}
	return path + "?" + query, true
}

// hinted is the primary key to look under when there is nothing under a
// target's own; ok is false if there is no other.
func (e *Engine) hinted(site, host, target string) (primary string, ok bool) {
	path, _, found := strings.Cut(target, "?")
	if !found {
		return "", false
	}
	o, err := e.Store.Get(searchKey(site, host, path))
	if err != nil {
		return "", false
	}
	defer func() { _ = o.Close() }()
	return byHint(o.Meta(), site, host, target)
}

// byHint is the primary key that m, what is stored under searchKey, makes of a
// target.
func byHint(m *storage.Meta, site, host, target string) (primary string, ok bool) {
	path, _, _ := strings.Cut(target, "?")
	if m.Site != site || m.Host != host || m.Target != path {
		return "", false
	}
	to, ok := reduced(target, rfc9111.ParseFields(m.Header))
	return keyText(site, host, to), ok
}

// answers says whether what is stored is the request's: the target is the same,
// or differs in nothing that matters to the stored response.
func (r *Request) answers(m *storage.Meta) bool {
	if m.Site != r.Site.Name || m.Host != r.Host {
		return false
	}
	if m.Target == r.Target {
		return true
	}
	if m.Status == 0 { // a list of variants, whose variants say more
		path, _, _ := strings.Cut(r.Target, "?")
		listed, _, _ := strings.Cut(m.Target, "?")
		return path == listed
	}
	header := rfc9111.ParseFields(m.Header)
	own, ok := reduced(m.Target, header)
	if !ok && strings.Contains(m.Target, "?") {
		return false
	}
	asked, _ := reduced(r.Target, header)
	return own == asked
}

// reduce moves the fill to the key that the response's No-Vary-Search asks for,
// and leaves the hint for requests to come.
func (f *fill) reduce(h http.Header) {
	own := f.req.keyText()
	primary := own
	if to, ok := reduced(f.req.Target, h); ok {
		primary = keyText(f.req.Site.Name, f.req.Host, to)
		f.hint(h)
	}
	if primary == f.primary {
		return
	}
	f.primary, f.list = primary, nil
	if primary == own && !f.detached.Load() {
		// What queries were reduced by does not hold any more, nor does what
		// is stored by it.
		_ = f.e.Store.Delete(f.key)
		f.e.mu.Lock()
		f.e.forgetKey(f, f.key)
		f.e.mu.Unlock()
	}
}

// hint keeps the field for the path, unless it is there already.
func (f *fill) hint(h http.Header) {
	path, _, _ := strings.Cut(f.req.Target, "?")
	key := searchKey(f.req.Site.Name, f.req.Host, path)
	field := rfc9111.AppendFields(nil, http.Header{noVarySearch: h.Values(noVarySearch)})
	if o, err := f.e.Store.Get(key); err == nil {
		same := string(o.Meta().Header) == string(field)
		_ = o.Close()
		if same {
			return
		}
	}
	m := &storage.Meta{Site: f.req.Site.Name, Host: f.req.Host, Target: path, BodyID: rand.Uint64(), Header: field}
	w, err := f.e.Store.Create(key, m)
	if err != nil {
		return // it costs hits and nothing else
	}
	defer func() { _ = w.Close() }()
	if err := w.Commit(); err != nil {
		f.e.Log.Warn("commit of No-Vary-Search failed", "key", f.primary, "error", err)
	}
}
