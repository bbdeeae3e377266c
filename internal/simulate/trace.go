package simulate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	lineBytesMax    = 64 << 10
	requestsMax     = 1 << 28
	askedBytesMax   = 1 << 61 // by all requests together, so that no sum of what is written overflows
	problemsMax     = 10      // kept; all are counted
	windowBytesMax  = 128 << 20
	linesPerContext = 1 << 14 // between two looks at the context
)

// Trace is a list of requests, in their order, with 12 bytes of memory each.
type Trace struct {
	ids   []uint32 // dense, in the order in which objects are first seen
	sizes []int64  // of each request's object

	// Objects is how many there are, FootprintBytes the sum of their sizes:
	// for each the first that was seen.
	Objects        int
	FootprintBytes int64

	// Passed is how many lines are of requests that are not for a cache: of
	// other methods than GET and HEAD, or answered with an error.
	Passed int
	// Bad is how many lines say no request, Problems what is wrong with the
	// first ten of them.
	Bad      int
	Problems []Problem
}

// Requests is how many requests there are.
func (t *Trace) Requests() int { return len(t.ids) }

// Problem is a line that says no request.
type Problem struct {
	Line int // from 1
	Err  error
}

// String is "line 3: size \"x\" is not a number".
func (p Problem) String() string { return fmt.Sprintf("line %d: %v", p.Line, p.Err) }

// request is what a line says.
type request struct {
	id    []byte // good until the next line is read
	bytes int64  // negative: the line does not say
	part  bool   // bytes may be less than the whole object
	pass  bool   // not for a cache
}

// reader makes a Trace of lines.
type reader struct {
	lines  *bufio.Reader
	parse  func([]byte) (request, error) // nil until a line has been understood
	trace  *Trace
	ids    map[string]uint32
	latest []int64 // size of each object, as last seen
	asked  int64   // bytes, by all requests
}

// Read reads a trace: lines of `time id size`, or an access log in the common or
// the combined format, plain or compressed with zstd or gzip; which of them is
// told by the content. Lines that make no sense are counted in the Trace; it is
// an error if no line does, or if most do not.
func Read(ctx context.Context, r io.Reader) (*Trace, error) {
	plain, err := decompressed(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	rd := &reader{lines: bufio.NewReaderSize(plain, lineBytesMax), trace: &Trace{}, ids: make(map[string]uint32)}
	if err := rd.run(ctx); err != nil {
		return nil, err
	}
	t := rd.trace
	if t.Bad > len(t.ids)+t.Passed {
		return nil, fmt.Errorf("%d of %d lines say no request, the first: %v", t.Bad, t.Bad+len(t.ids)+t.Passed, t.Problems[0])
	}
	if len(t.ids) == 0 {
		return nil, errors.New("no requests in it")
	}
	return t, nil
}

// decompressed looks at the first bytes for what they are compressed with.
func decompressed(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878 section 3.1.1
		d, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowBytesMax))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}): // RFC 1952 section 2.3.1
		return gzip.NewReader(buffered)
	default:
		return io.NopCloser(buffered), nil
	}
}

func (r *reader) run(ctx context.Context) error {
	for n := 1; ; n++ {
		if n%linesPerContext == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, problem, err := r.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if problem == nil {
			problem = r.take(line)
		}
		if problem != nil {
			r.trace.Bad++
			if len(r.trace.Problems) < problemsMax {
				r.trace.Problems = append(r.trace.Problems, Problem{Line: n, Err: problem})
			}
		}
		if len(r.trace.ids) == requestsMax {
			return fmt.Errorf("line %d: more than %d requests", n, requestsMax)
		}
		if r.asked > askedBytesMax {
			return fmt.Errorf("line %d: the requests before it ask for more than %d bytes", n, int64(askedBytesMax))
		}
	}
}

// line gives the next line without its end. What is longer than lineBytesMax is
// a problem of that line alone.
func (r *reader) line() (line []byte, problem, err error) {
	line, err = r.lines.ReadSlice('\n')
	for err == bufio.ErrBufferFull {
		problem = fmt.Errorf("longer than %d bytes", lineBytesMax)
		_, err = r.lines.ReadSlice('\n')
	}
	if err == io.EOF && (len(line) > 0 || problem != nil) {
		err = nil
	}
	return bytes.TrimSpace(line), problem, err
}

// take adds the request of a line, if it says one.
func (r *reader) take(line []byte) error {
	if len(line) == 0 || line[0] == '#' {
		return nil
	}
	q, err := r.understand(line)
	if err != nil {
		return err
	}
	if q.pass {
		r.trace.Passed++
		return nil
	}
	id, known := r.ids[string(q.id)]
	switch {
	case known && q.bytes < 0:
		q.bytes = r.latest[id]
	case known && q.part:
		q.bytes = max(q.bytes, r.latest[id])
	case !known && q.bytes < 0:
		r.trace.Passed++ // a 304 or a HEAD before any GET: nothing says how large the object is
		return nil
	}
	q.bytes = max(q.bytes, 1)
	if !known {
		id = uint32(len(r.ids))
		r.ids[string(q.id)] = id
		r.latest = append(r.latest, 0)
		r.trace.Objects++
		r.trace.FootprintBytes += q.bytes
	}
	r.latest[id] = q.bytes
	r.asked += q.bytes
	r.trace.ids = append(r.trace.ids, id)
	r.trace.sizes = append(r.trace.sizes, q.bytes)
	return nil
}

// understand parses a line. The first that is understood settles the format.
func (r *reader) understand(line []byte) (request, error) {
	if r.parse != nil {
		return r.parse(line)
	}
	q, err := parsePlain(line)
	if err == nil {
		r.parse = parsePlain
		return q, nil
	}
	if bytes.IndexByte(line, '"') < 0 {
		return q, err
	}
	q, err = parseLog(line)
	if err == nil {
		r.parse = parseLog
	}
	return q, err
}
