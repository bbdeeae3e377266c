package cache

import (
	"math/rand/v2"
	"net/http"
	"time"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
)

// changingAge is how young a partial object is if what it has does not fit what
// comes next because upstream answers now with one version and now with another.
const changingAge = 10 * time.Second

// admitPart decides on a 206 that a fill asked for. It gives the reason why the
// response is private, or ReasonNone.
func (f *fill) admitPart(asked, arrived time.Time, response *http.Response) Reason {
	brought, ok := rfc9110.PartOf(response.Header.Values("Content-Range"), response.ContentLength)
	f.verdict = rfc9111.StorablePart(f.req.Fields, response.Header, f.req.Site.Policy)
	if f.verdict == rfc9111.CanStore && (!ok || brought.Size < 0) {
		f.verdict = rfc9111.RefusedPartial
	}
	if f.verdict != rfc9111.CanStore {
		return ReasonUncacheable
	}
	if brought.Exact && brought.Start == 0 && brought.Length == brought.Size {
		// A part only by its name.
		response.StatusCode, response.ContentLength = http.StatusOK, brought.Length
		response.Header.Del("Content-Range")
		return f.admit(asked, arrived, response)
	}
	if head := f.portion.head; head != nil {
		if !f.continues(brought, response) || f.purgedSince(response) {
			return f.outdated(arrived, response)
		}
		f.headAt = f.portion.at
		return f.admitBlock(head, brought.Range, response)
	}
	return f.admitHead(asked, arrived, brought, response)
}

// continues says whether a part is the block asked for, of the representation
// that the head is of (RFC 9110 section 15.3.7.3).
func (f *fill) continues(brought rfc9110.Part, response *http.Response) bool {
	head := f.portion.head
	return brought.Exact && brought.Size == head.Size && brought.Range == f.portion.want &&
		rfc9110.Combines(rfc9111.ParseFields(head.Header), response.Header)
}

// purgedSince says whether a block is older than a purge that covers it: the
// tier that it came from has not heard of the purge, and its head has.
func (f *fill) purgedSince(response *http.Response) bool {
	head := f.portion.head
	hard, _ := f.e.Purges.Covering(head.Site, head.Host, head.Target, head.Tags)
	return hard > f.stampOf(response.Header) && hard <= head.Stamp
}

// outdated drops the head that a block was asked for: upstream has something
// else by now. Everybody looks again.
func (f *fill) outdated(arrived time.Time, response *http.Response) Reason {
	_ = response.Body.Close()
	f.result = resultChanged
	head, store := f.portion.head, f.e.Store
	if arrived.Sub(head.Stored.ResponseTime) < changingAge {
		f.e.unshared.add(f.portion.at, arrived, refusal{why: ReasonPartial, verdict: f.verdict})
	}
	if o, err := store.Get(f.portion.at); err == nil {
		if o.Meta().BodyID == head.BodyID {
			_ = store.Delete(f.portion.at)
		}
		_ = o.Close()
	}
	return ReasonNone
}

// admitHead stores the first part of a representation. What can have blocks gets
// a head, at once, so that requests for other blocks find it while the body of
// this one arrives. Anything else is kept as it came, and answers what lies
// within it.
func (f *fill) admitHead(asked, arrived time.Time, brought rfc9110.Part, response *http.Response) Reason {
	header := rfc9111.StoredFields(response.Header)
	m := f.newMeta(http.StatusPartialContent, header,
		rfc9111.NewStored(http.StatusPartialContent, response.Header, asked, arrived, f.req.Site.Policy), response)
	m.BodyID, m.Size = rand.Uint64(), brought.Size
	key, err := f.place(m, response.Header)
	if err != nil {
		return ReasonTooLarge
	}
	f.headAt = key
	want := f.portion.want
	want.Length = min(want.Length, brought.Size-want.Start)
	if brought.Exact && !f.portion.suffix && brought.Range == want && joinable(header) {
		header.Del("Content-Range")
		m.Header = rfc9111.AppendFields(nil, header)
		if err := f.storeHead(key, m); err != nil {
			return ReasonTooLarge
		}
		return f.admitBlock(m, brought.Range, response)
	}
	m.Start, m.BodyBytes = brought.Start, brought.Length
	if err := f.open(key, m); err != nil {
		return ReasonTooLarge
	}
	f.brings = brought.Range
	f.let(resultPart, m)
	return ReasonNone
}

// storeHead makes the head visible. A fill that is detached meanwhile takes it
// back, though that may take a newer object with it: a miss.
func (f *fill) storeHead(key storage.Key, m *storage.Meta) error {
	if f.detached.Load() {
		return nil
	}
	w, err := f.e.Store.Create(key, m)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if err := w.Commit(); err != nil {
		return err
	}
	if f.detached.Load() {
		_ = f.e.Store.Delete(key)
	}
	return nil
}

// admitBlock stores the body as a block of head, and lets requests for the head
// go on to look for it.
func (f *fill) admitBlock(head *storage.Meta, r rfc9110.Range, response *http.Response) Reason {
	err := f.open(f.e.blockKey(f.primary, head, r.Start), blockMeta(head, r, f.stampOf(response.Header)))
	if err != nil {
		return ReasonTooLarge
	}
	f.brings = r
	f.let(resultBlock, head)
	if f.at != f.key {
		f.e.mu.Lock()
		f.e.forgetKey(f, f.key)
		f.e.mu.Unlock()
	}
	return ReasonNone
}
