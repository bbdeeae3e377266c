package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// Limits of an encoded Meta. The decoder believes no length beyond them.
const (
	// MetaBytesMax bounds an encoded Meta as a whole, in bytes.
	MetaBytesMax = 1 << 20

	metaVersion        = 2
	metaTextBytesMax   = 64 << 10  // one text: a host, a target, a tag
	metaHeaderBytesMax = 512 << 10 // the header block
	metaListTextsMax   = 8192      // texts in one list
	metaFixedBytes     = 2 + 2 + 6*8 + 8 + 4 + 4*8
)

const (
	flagNoCache = 1 << iota
	flagMustRevalidate
)

// errBadMeta says that bytes are no encoded Meta of a version known here.
var errBadMeta = errors.New("malformed meta")

// AppendBinary appends m's encoded form to b. An error wraps ErrTooLarge: some
// part of m, or all of it, is beyond its limit.
//
// The form, integers little-endian; a text is its length as a uvarint and then
// its bytes, a list is the number of its texts as a uvarint and then these:
//
//	bytes   field
//	1       version, 2
//	1       flags: 1 no-cache, 2 must-revalidate
//	2       status
//	8       body id
//	8       body length in bytes; negative: not known
//	8       stamp
//	2 × 8   start, size of the whole, in bytes
//	8       group stamp
//	8       response time, seconds since 1970, may be negative
//	4       response time, nanoseconds into that second
//	4 × 8   initial age, lifetime, stale-while-revalidate, stale-if-error, in nanoseconds
//	4 texts site, host, target, variant
//	3 lists tags, vary, groups
//	text    header block
//	2 texts etag, last-modified
//
// It carries no checksum: whoever stores it adds one over all that it stores.
func (m *Meta) AppendBinary(b []byte) ([]byte, error) {
	if err := m.withinLimits(); err != nil {
		return b, fmt.Errorf("encode meta: %w", err)
	}
	start := len(b)
	b = append(b, metaVersion, m.flags())
	b = binary.LittleEndian.AppendUint16(b, uint16(m.Status))
	b = binary.LittleEndian.AppendUint64(b, m.BodyID)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.BodyBytes))
	b = binary.LittleEndian.AppendUint64(b, m.Stamp)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Start))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Size))
	b = binary.LittleEndian.AppendUint64(b, m.GroupStamp)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Stored.ResponseTime.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Stored.ResponseTime.Nanosecond()))
	for _, d := range m.durations() {
		b = binary.LittleEndian.AppendUint64(b, uint64(*d))
	}
	for _, s := range []string{m.Site, m.Host, m.Target, m.Variant} {
		b = appendText(b, s)
	}
	for _, list := range [][]string{m.Tags, m.Vary, m.Groups} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = appendText(b, s)
		}
	}
	b = appendText(b, m.Header)
	b = appendText(b, m.ETag)
	b = appendText(b, m.LastModified)
	if n := len(b) - start; n > MetaBytesMax {
		return b[:start], fmt.Errorf("encode meta: %d of %d bytes: %w", n, MetaBytesMax, ErrTooLarge)
	}
	return b, nil
}

// UnmarshalBinary sets m to what AppendBinary encoded. b must hold that and
// nothing else; m keeps no part of it. Any error leaves m in no useful state.
func (m *Meta) UnmarshalBinary(b []byte) error { return m.Decode(b, nil) }

// Decode is UnmarshalBinary with room for the texts of the lists, which m keeps.
// It allocates once, for all bytes of texts and header together, and once more
// if there are more texts in lists than there is room for. So whoever keeps one
// text of m keeps the memory of all.
func (m *Meta) Decode(b []byte, room []string) error {
	if len(b) > MetaBytesMax {
		return fmt.Errorf("decode meta: %d of %d bytes: %w", len(b), MetaBytesMax, errBadMeta)
	}
	if len(b) < metaFixedBytes || b[0] != metaVersion || b[1]&^(flagNoCache|flagMustRevalidate) != 0 {
		return fmt.Errorf("decode meta: fixed part: %w", errBadMeta)
	}
	nanoseconds := binary.LittleEndian.Uint32(b[60:])
	if nanoseconds >= uint32(time.Second) {
		return fmt.Errorf("decode meta: response time: %w", errBadMeta)
	}
	*m = Meta{
		Status:    int(binary.LittleEndian.Uint16(b[2:])),
		BodyID:    binary.LittleEndian.Uint64(b[4:]),
		BodyBytes: int64(binary.LittleEndian.Uint64(b[12:])),
		Stamp:     binary.LittleEndian.Uint64(b[20:]),
		Start:     int64(binary.LittleEndian.Uint64(b[28:])),
		Size:      int64(binary.LittleEndian.Uint64(b[36:])),

		GroupStamp: binary.LittleEndian.Uint64(b[44:]),
	}
	m.Stored.NoCache = b[1]&flagNoCache != 0
	m.Stored.MustRevalidate = b[1]&flagMustRevalidate != 0
	m.Stored.ResponseTime = time.Unix(int64(binary.LittleEndian.Uint64(b[52:])), int64(nanoseconds)).UTC()
	for i, d := range m.durations() {
		*d = time.Duration(binary.LittleEndian.Uint64(b[64+8*i:]))
	}
	r := textReader{rest: append([]byte(nil), b[metaFixedBytes:]...), room: room}
	m.Site, m.Host, m.Target, m.Variant = r.text(), r.text(), r.text(), r.text()
	r.reserve()
	m.Tags, m.Vary, m.Groups = r.list(), r.list(), r.list()
	if header := r.bytes(metaHeaderBytesMax); len(header) > 0 {
		m.Header = header
	}
	m.ETag, m.LastModified = r.text(), r.text()
	if r.bad || len(r.rest) > 0 {
		return fmt.Errorf("decode meta: texts: %w", errBadMeta)
	}
	return nil
}

// Bytes is the memory that m accounts for, in bytes: its own fields, what they
// point to, and a share for what the allocator adds.
func (m *Meta) Bytes() int64 {
	const (
		structBytes = 368 // of Meta itself
		stringBytes = 16  // of a string in a slice
		slackBytes  = 8   // lost on average when a small piece is allocated
	)
	n := structBytes + len(m.Site) + len(m.Host) + len(m.Target) + len(m.Variant) +
		cap(m.Header) + len(m.ETag) + len(m.LastModified) + 9*slackBytes
	for _, list := range [][]string{m.Tags, m.Vary, m.Groups} {
		n += cap(list) * stringBytes
		for _, s := range list {
			n += len(s) + slackBytes
		}
	}
	return int64(n)
}

func (m *Meta) flags() (flags byte) {
	if m.Stored.NoCache {
		flags |= flagNoCache
	}
	if m.Stored.MustRevalidate {
		flags |= flagMustRevalidate
	}
	return flags
}

// durations lists the durations in the order in which they are encoded.
func (m *Meta) durations() [4]*time.Duration {
	s := &m.Stored
	return [4]*time.Duration{&s.InitialAge, &s.Lifetime, &s.StaleWhileRevalidate, &s.StaleIfError}
}

func (m *Meta) withinLimits() error {
	if m.Status < 0 || m.Status > 0xffff {
		return fmt.Errorf("status %d: %w", m.Status, ErrTooLarge)
	}
	if len(m.Header) > metaHeaderBytesMax {
		return fmt.Errorf("header of %d bytes: %w", len(m.Header), ErrTooLarge)
	}
	fields := []string{m.Site, m.Host, m.Target, m.Variant, m.ETag, m.LastModified}
	for _, list := range [][]string{fields, m.Tags, m.Vary, m.Groups} {
		if len(list) > metaListTextsMax {
			return fmt.Errorf("list of %d texts: %w", len(list), ErrTooLarge)
		}
		for _, s := range list {
			if len(s) > metaTextBytesMax {
				return fmt.Errorf("text of %d bytes: %w", len(s), ErrTooLarge)
			}
		}
	}
	return nil
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// metaLists is how many lists are encoded, one behind the other.
const metaLists = 3

// textReader takes texts off the front of rest, which nobody writes to any more:
// they are parts of it. After the first that is malformed all are empty and bad
// is set.
type textReader struct {
	rest []byte
	bad  bool
	room []string // for the texts of lists
}

// number takes a uvarint that must not exceed max.
func (r *textReader) number(max int) int {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 || n > uint64(max) {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

// bytes takes a text. Appending to what it returns does not reach what follows.
func (r *textReader) bytes(max int) []byte {
	n := r.number(max)
	if r.bad || n > len(r.rest) {
		r.bad = true
		return nil
	}
	text := r.rest[:n:n]
	r.rest = r.rest[n:]
	return text
}

func (r *textReader) text() string {
	text := r.bytes(metaTextBytesMax)
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// reserve makes room for the texts of all lists, which come next, where there is
// not enough. It reads them once ahead.
func (r *textReader) reserve() {
	texts, ahead := 0, textReader{rest: r.rest, bad: r.bad}
	for range metaLists {
		n := ahead.length()
		texts += n
		for range n {
			ahead.bytes(metaTextBytesMax)
		}
	}
	if !ahead.bad && texts > len(r.room) {
		r.room = make([]string, texts)
	}
}

// length takes the number of a list's texts. Each text takes a byte at least, so
// a count beyond what is left is refused before anything is allocated for it.
func (r *textReader) length() int { return r.number(min(metaListTextsMax, len(r.rest))) }

// list takes a list, for which reserve has made room unless it is malformed.
func (r *textReader) list() []string {
	n := r.length()
	if n == 0 || n > len(r.room) {
		r.bad = r.bad || n > 0
		return nil
	}
	texts := r.room[:n:n]
	r.room = r.room[n:]
	for i := range texts {
		texts[i] = r.text()
	}
	return texts
}
