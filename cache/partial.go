package cache

import (
	"net/http"
	"strconv"
	"strings"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
)

// A partial object is what is stored of a representation of which clients have
// wanted parts. It stands under the key of the whole, with the whole's header:
//
//	head      Status 206; its own body may be empty, or one part that begins at
//	          Start, with the bytes that a fill happened to bring, and the
//	          Content-Range that came with them
//	blocks    objects of their own, each BlockBytes long and aligned, save the
//	          last; only if the head has a strong validator (RFC 9110 section
//	          8.8.1), since bytes of different responses are joined by nothing else
//
// A block's key has the head's BodyID in it, so that a head that is replaced,
// purged or evicted takes its blocks out of reach. What purges and lifetimes say
// is asked of the head alone: each block came with the head's validator. Once
// one answer brings all of a representation, it takes the head's place.

// portion is what a fill asks for when it does not want the whole.
type portion struct {
	// head is the partial object that the bytes are for, stored under at; nil
	// while there is none that they could be joined to.
	head *storage.Meta
	at   storage.Key
	// want is what is asked for. With suffix, its Start is not known yet, only
	// that it ends where the representation does.
	want   rfc9110.Range
	suffix bool
	// size is the whole's, negative if not known.
	size int64
	// rest says that want is what is missing behind a part that cannot be
	// joined to anything: of use only if upstream answers with the whole.
	rest bool
}

// field is the Range field that asks for it (RFC 9110 section 14.2).
func (p *portion) field() string {
	if p.suffix {
		return "bytes=-" + strconv.FormatInt(p.want.Length, 10)
	}
	return rfc9110.FillRange(p.want, p.size)
}

// firstPortion is what to ask for when a request wants a part of what is not
// stored: the block in which the first of its ranges begins, or as much of a
// suffix as a block has. nil if it wants the whole.
func (e *Engine) firstPortion(req *Request) *portion {
	lines := req.Fields.Values("Range")
	if len(lines) == 0 || req.Method != http.MethodGet {
		return nil
	}
	r, suffix, ok := rfc9110.FirstRange(lines[0])
	switch {
	case !ok:
		return nil
	case suffix:
		return &portion{want: rfc9110.Range{Length: min(r.Length, e.BlockBytes)}, size: -1, suffix: true}
	default:
		return &portion{want: e.block(r.Start, -1), size: -1}
	}
}

// block is the block that has the byte at a position.
func (e *Engine) block(at, size int64) rfc9110.Range {
	return rfc9110.Align(rfc9110.Range{Start: at, Length: 1}, e.BlockBytes, size)
}

// blockKey names the block of a partial object that begins at a position.
func (e *Engine) blockKey(primary string, head *storage.Meta, start int64) storage.Key {
	b := make([]byte, 0, len(primary)+26)
	b = append(append(b, primary...), "\n#"...)
	for _, v := range [...]uint64{head.BodyID, uint64(start), uint64(e.BlockBytes)} {
		for range 8 {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	return storage.KeyOf(string(b))
}

// blockMeta is what is stored of a block besides its bytes.
func blockMeta(head *storage.Meta, r rfc9110.Range, stamp uint64) *storage.Meta {
	return &storage.Meta{
		Site: head.Site, Host: head.Host, Target: head.Target, Variant: head.Variant,
		BodyID: head.BodyID, BodyBytes: r.Length, Start: r.Start, Size: head.Size,
		Stamp: stamp, Tags: head.Tags, Status: http.StatusPartialContent, ETag: head.ETag,
	}
}

// isBlock says whether a stored object is the block r of head.
func isBlock(m, head *storage.Meta, r rfc9110.Range) bool {
	return m.BodyID == head.BodyID && m.Start == r.Start && m.BodyBytes == r.Length && m.Size == head.Size &&
		m.Site == head.Site && m.Host == head.Host && m.Target == head.Target
}

// part is the head's own.
func part(head *storage.Meta) rfc9110.Part {
	return rfc9110.Part{Range: rfc9110.Range{Start: head.Start, Length: head.BodyBytes}, Size: head.Size}
}

// joinable says whether a partial object may have blocks.
func joinable(header http.Header) bool { return rfc9110.StrongValidator(header) != "" }

// mayHave says whether a response that is not shared answers its owner. One to
// a portion answers for the range that the fill asked for, not the client's; but
// a representation that ends before the block does so before the range in it.
func (r *Request) mayHave(status int, p *portion) bool {
	switch {
	case p == nil:
		return true
	case status == http.StatusRequestedRangeNotSatisfiable:
		return p.head == nil && !strings.Contains(r.Fields.Values("Range")[0], ",")
	default:
		return status != http.StatusPartialContent
	}
}

// wanted gives the bytes by which a request for a representation is answered:
// none if its conditions or its method say so.
func (r *Request) wanted(header http.Header, size int64) []rfc9110.Range {
	if r.Method != http.MethodGet || size == 0 ||
		rfc9110.EvaluateStored(r.Method, r.Fields, header.Get("Etag"), header.Get("Last-Modified"), header.Get("Date")) != rfc9110.Proceed {
		return nil
	}
	ranges, verdict := rfc9110.Select(r.Method, r.Fields, header, size)
	switch verdict {
	case rfc9110.Satisfiable:
		return ranges
	case rfc9110.Unsatisfiable:
		return nil
	default:
		return []rfc9110.Range{{Length: size}}
	}
}

// holdsWanted says whether the object found has all that the request wants.
func (t *transaction) holdsWanted() bool {
	m := t.object.Meta()
	if m.Status != http.StatusPartialContent {
		return true
	}
	_, missing := t.sparse(m).missing()
	return !missing
}

// sparse makes an answer's body of a partial object, and of the object found if
// that is the one. The transaction keeps the object until the answer is made.
func (t *transaction) sparse(head *storage.Meta) *sparse {
	s := &sparse{
		e: t.e, req: t.req, primary: t.primary, at: t.key, list: t.list,
		head: head, header: rfc9111.ParseFields(head.Header),
	}
	if t.object != nil && t.object.Meta().BodyID == head.BodyID && head.BodyBytes > 0 {
		s.object = t.object
	}
	s.wanted = t.req.wanted(s.header, head.Size)
	return s
}

// fromPart answers from a partial object, or asks for what it lacks.
func (t *transaction) fromPart(head *storage.Meta, o Outcome, r Reason) step {
	s := t.sparse(head)
	at, missing := s.missing()
	if !missing {
		t.ans.Outcome, t.ans.Reason, t.ans.Tier = o, r, t.object.Tier()
		return t.fromSparse(s)
	}
	t.fresh = true
	if o == OutcomeHit {
		t.ans.Reason = ReasonPartial
	}
	if joinable(s.header) {
		t.portion = s.blockPortion(at)
		t.key, t.landed = s.keyOf(t.portion.want), s.landed
		return stepCollapse
	}
	if t.e.firstPortion(t.req) != nil {
		return t.passBecause(ReasonPartial)
	}
	t.portion = restOf(head)
	return stepCollapse
}

// restOf is what a request for the whole asks for when a part is stored that
// cannot be joined: upstream may answer with the whole, which ends the matter.
// nil if more than one piece is missing, or none.
func restOf(head *storage.Meta) *portion {
	missing := rfc9110.Missing([]rfc9110.Range{part(head).Range}, rfc9110.Range{Length: head.Size})
	if len(missing) != 1 {
		return nil
	}
	return &portion{want: missing[0], size: head.Size, rest: true}
}

// fromSparse makes the answer; what it needs goes over to it.
func (t *transaction) fromSparse(s *sparse) step {
	whole := *s.head
	whole.Status, whole.BodyBytes, whole.Start, whole.Size = http.StatusOK, s.head.Size, 0, 0
	if s.header.Get("Content-Range") != "" {
		header := s.header.Clone()
		header.Del("Content-Range")
		whole.Header = rfc9111.AppendFields(nil, header)
	}
	t.ans.Meta, t.ans.sparse = &whole, s
	t.ans.soft, t.ans.compared = t.soft, t.compared
	if s.object != nil {
		t.object = nil
	}
	return stepDone
}

// fromPortion answers with the part or block that is arriving, if it begins
// what this request wants.
func (t *transaction) fromPortion() step {
	f := t.fill
	if !t.suits(f.meta) {
		return stepLookup
	}
	s := t.sparse(f.meta)
	s.primary, s.at, s.from = f.primary, f.headAt, f.brings
	if t.owner && f.portion.suffix && len(s.wanted) > 0 && f.portion.field() == t.req.Fields.Values("Range")[0] {
		// The very range that the client asked for: whatever upstream takes it
		// to be is the answer.
		s.wanted, s.asAsked = []rfc9110.Range{f.brings}, true
	}
	if _, missing := s.missing(); missing && (f.result == resultPart || !t.owner) {
		if f.result == resultBlock {
			return stepLookup // the head is there by now
		}
		// Nothing can be joined to it: the next ones need not try.
		t.e.unshared.add(t.key, t.now, refusal{why: ReasonPartial})
		return t.passBecause(ReasonPartial)
	}
	if s.reader = f.stream.attach(); s.reader == nil {
		return t.passBecause(ReasonTooLarge)
	}
	t.ans.Outcome = OutcomeMiss
	s.fill, t.fill = f, nil
	return t.fromSparse(s)
}

// seeksAhead says whether a request wants a part of the body that is arriving
// which is far from what has arrived: upstream gives it sooner.
func (t *transaction) seeksAhead() bool {
	m, s := t.fill.meta, t.fill.stream
	if m.Status != http.StatusOK || s.declared < 0 || len(t.req.Fields.Values("Range")) == 0 {
		return false
	}
	wanted := t.req.wanted(rfc9111.ParseFields(m.Header), s.declared)
	return len(wanted) > 0 && wanted[0].Start > s.stored.Load()+aheadBlocks*t.e.BlockBytes
}
