package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"weir/cache/rfc9110"
	"weir/storage"
)

const (
	// aheadBlocks is how many blocks at most are fetched ahead of a client that
	// reads on from one block into the next: as many as it has read so far.
	aheadBlocks = 8
	// missingBlocksMax bounds the blocks that are looked for before an answer
	// begins. Whatever else is missing is fetched while it goes out.
	missingBlocksMax = 64
	// blockTries bounds how often a block is looked for again that was there a
	// moment ago, or failed its checksum.
	blockTries = 3
)

var errChanged = errors.New("upstream has another version of the content than the one that this answer began with")

// sparse is the body of a partial object: some of it is stored, the rest is
// fetched block by block as it is read. Not for concurrent use.
type sparse struct {
	e       *Engine
	req     *Request
	primary string
	at      storage.Key // of head
	list    *storage.Meta
	head    *storage.Meta
	header  http.Header
	wanted  []rfc9110.Range
	object  storage.Object // has the head's own part; nil if that is empty
	asAsked bool           // upstream was asked for the client's own range, and the part is its answer
	// fill brings the bytes in from, and reader reads them.
	fill   *fill
	reader *reader
	from   rfc9110.Range
	// landed is the count of landed fills before the look for the block that
	// missing found missing.
	landed uint64
}

func (s *sparse) close() {
	s.leave()
	if s.object != nil {
		_ = s.object.Close()
	}
}

// leave gives up the part in the fill.
func (s *sparse) leave() {
	if s.reader != nil {
		s.reader.leave()
		s.fill.release()
	}
	s.reader, s.fill, s.from = nil, nil, rfc9110.Range{}
}

func (s *sparse) block(at int64) rfc9110.Range { return s.e.block(at, s.head.Size) }

func (s *sparse) keyOf(block rfc9110.Range) storage.Key {
	return s.e.blockKey(s.primary, s.head, block.Start)
}

// blockPortion asks for the block that has the byte at a position.
func (s *sparse) blockPortion(at int64) *portion {
	return &portion{head: s.head, at: s.at, want: s.block(at), size: s.head.Size}
}

// missing gives the first byte wanted that is neither stored nor arriving with
// the fill that was joined. It looks at no more than missingBlocksMax blocks.
func (s *sparse) missing() (at int64, missing bool) { return s.lacks(s.stored) }

// stored says whether a block is stored.
func (s *sparse) stored(block rfc9110.Range) bool {
	o := s.open(block)
	if o == nil {
		return false
	}
	_ = o.Close()
	return true
}

// lacks is missing with another way to look for a block.
func (s *sparse) lacks(stored func(block rfc9110.Range) bool) (at int64, missing bool) {
	looked := 0
	for _, r := range s.wanted {
		for at := r.Start; at < r.Start+r.Length; {
			if end := s.heldTo(at); end > at {
				at = end
				continue
			}
			if looked++; looked > missingBlocksMax {
				return 0, false
			}
			block := s.block(at)
			if !stored(block) {
				return at, true
			}
			at = block.Start + block.Length
		}
	}
	return 0, false
}

// heldTo is up to where the bytes from a position on are in the head's own part
// or arriving with the fill.
func (s *sparse) heldTo(at int64) int64 {
	if own := part(s.head); (s.object != nil) && own.Holds(rfc9110.Range{Start: at, Length: 1}) {
		return own.Start + own.Length
	}
	if at >= s.from.Start && at < s.from.Start+s.from.Length {
		return s.from.Start + s.from.Length
	}
	return 0
}

// open opens a block, nil if it is not stored.
func (s *sparse) open(block rfc9110.Range) storage.Object {
	key := s.keyOf(block)
	s.landed = s.e.landedShard(key).Load()
	o, err := s.e.Store.Get(key)
	if err != nil {
		return nil
	}
	if !isBlock(o.Meta(), s.head, block) {
		_ = o.Close()
		return nil
	}
	return o
}

// writeRange writes the bytes of r, as they arrive. It returns how many.
func (s *sparse) writeRange(ctx context.Context, w io.Writer, r rfc9110.Range) (int64, error) {
	end := r.Start + r.Length
	at := r.Start
	for read := 0; at < end; {
		n, err := s.write(ctx, w, at, end)
		at += n
		if err != nil {
			return at - r.Start, err
		}
		if at%s.e.BlockBytes == 0 {
			read++
			s.ahead(at, end, min(read, aheadBlocks))
		}
	}
	return r.Length, nil
}

// write writes some of the bytes from at to end.
func (s *sparse) write(ctx context.Context, w io.Writer, at, end int64) (int64, error) {
	if own := part(s.head); s.object != nil && own.Holds(rfc9110.Range{Start: at, Length: 1}) {
		n, err := writeObject(w, s.object, at-own.Start, min(end, own.Start+own.Length)-at)
		if errors.Is(err, storage.ErrCorrupt) && joinable(s.header) {
			_ = s.object.Close()
			s.object, err = nil, nil
		}
		return n, err
	}
	if s.reader != nil {
		if stop := min(end, s.from.Start+s.from.Length); at >= s.from.Start && at < stop {
			n, err := s.reader.writeRange(ctx, w, at-s.from.Start, stop-at)
			if at+n == s.from.Start+s.from.Length {
				s.leave()
			}
			return n, err
		}
	}
	return s.writeBlock(ctx, w, at, end)
}

// writeBlock writes from the block that has the byte at a position: stored,
// arriving, or, where the store takes none, straight from upstream.
func (s *sparse) writeBlock(ctx context.Context, w io.Writer, at, end int64) (int64, error) {
	block := s.block(at)
	stop := min(end, block.Start+block.Length)
	for range blockTries {
		if o := s.open(block); o != nil {
			n, err := writeObject(w, o, at-block.Start, stop-at)
			_ = o.Close()
			if !errors.Is(err, storage.ErrCorrupt) {
				return n, err
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		f, how := s.e.enter(s.ask(at))
		if how == entryLanded {
			continue
		}
		if how != entryOwner && how != entryReader {
			break
		}
		if err := s.join(ctx, f); err != nil {
			return 0, err
		}
		if s.reader == nil {
			break
		}
		return s.write(ctx, w, at, stop)
	}
	return s.direct(ctx, w, at, end)
}

// ask is a transaction for the block that has the byte at a position.
func (s *sparse) ask(at int64) *transaction {
	portion := s.blockPortion(at)
	return &transaction{
		e: s.e, req: s.req, now: s.e.now(), primary: s.primary, list: s.list,
		key: s.keyOf(portion.want), landed: s.landed, portion: portion, fresh: true,
	}
}

// join waits for a fill's header and reads its body from then on. Without a
// reader afterwards, the store does not take the block.
func (s *sparse) join(ctx context.Context, f *fill) error {
	s.leave()
	patience := time.NewTimer(s.e.FillWait)
	defer patience.Stop()
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.release()
		return ctx.Err()
	case <-patience.C:
		f.release()
		return nil
	}
	switch {
	case f.result == resultChanged:
		f.release()
		return errChanged
	case f.result == resultFailed:
		err := f.err
		f.release()
		return err
	case f.result != resultBlock || f.meta.BodyID != s.head.BodyID:
		f.release()
		return nil
	}
	if s.reader = f.stream.attach(); s.reader == nil {
		f.release()
		return nil
	}
	s.fill, s.from = f, f.brings
	return nil
}

// ahead begins the fills of the next blocks that are not there, unless they run.
func (s *sparse) ahead(at, end int64, blocks int) {
	for range blocks {
		if at >= end {
			return
		}
		block := s.block(at)
		if o := s.open(block); o != nil {
			_ = o.Close()
		} else {
			s.e.fillBehind(s.ask(at))
		}
		at = block.Start + block.Length
	}
}

// direct writes the bytes from at to end as upstream gives them, past the store.
func (s *sparse) direct(ctx context.Context, w io.Writer, at, end int64) (int64, error) {
	want := rfc9110.Range{Start: at, Length: end - at}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := s.req.Forward.Fill(ctx)
	s.req.Site.Policy.Negotiate(out.Header)
	out.Header.Set("Range", rfc9110.FillRange(want, s.head.Size))
	response, err := s.req.Site.Upstream.RoundTrip(out)
	if err != nil {
		return 0, classify(err)
	}
	defer func() { _ = response.Body.Close() }()
	brought, ok := rfc9110.PartOf(response.Header.Values("Content-Range"), response.ContentLength)
	if response.StatusCode != http.StatusPartialContent || !ok || !brought.Exact || brought.Range != want ||
		brought.Size != s.head.Size || !rfc9110.Combines(s.header, response.Header) {
		return 0, fmt.Errorf("%w: status %d", errChanged, response.StatusCode)
	}
	n, err := relay(w, io.LimitReader(response.Body, want.Length), s.e.StallTimeout, stop)
	if err == nil && n < want.Length {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
