package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"weir/storage"
)

const (
	recordMagic     = "weir"
	recordVersion   = 1
	recordHeadBytes = 64
	sumBytes        = 4
	partBytes       = 24
	// blockBytes is how much of a body one checksum covers.
	blockBytes = 64 << 10
	// unitBytes is what the place and length of a record are multiples of.
	unitBytes = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kind says what a record is.
type kind uint8

const (
	kindNone      kind = iota
	kindObject         // meta, and the whole body
	kindHead           // meta, and where the parts of the body are
	kindTombstone      // the key has been deleted
	kindChunk          // a part of a body; some head names it, or it is garbage
)

// String gives the kind's one name.
func (k kind) String() string {
	switch k {
	case kindObject:
		return "object"
	case kindHead:
		return "head"
	case kindTombstone:
		return "tombstone"
	case kindChunk:
		return "chunk"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// place is where a record begins: a region, and how many units into it.
type place struct {
	region uint32
	unit   uint32
}

func (p place) offset() int64 { return int64(p.unit) * unitBytes }

// part is a stretch of a body: all that one record holds of it.
type part struct {
	place
	sequence uint64 // of that record
	bytes    int64
}

// record is one record of the log, without its place. Bytes, integers
// little-endian:
//
//	offset  bytes   field
//	0       4       "weir"
//	4       1       version, 1
//	5       1       kind
//	6       2       zero
//	8       16      key
//	24      8       sequence: each record of a directory has a higher one than those before it
//	32      8       version of the hard purges that the object has been compared with: its meta's stamp, or more
//	40      4       M, bytes of meta
//	44      4       P, parts (of a head; 0 otherwise)
//	48      8       B, bytes of body; of a head, of the whole body that its parts make
//	56      4       zero
//	60      4       crc32c of the directory's salt, of all before this field, and of meta, sums and parts
//	64      M       meta as storage.Meta.AppendBinary encodes it
//	        4 × S   crc32c of each 64 KiB block of the body; S is B by 64 KiB, rounded up, and 0 in a head
//	        24 × P  parts: region, unit (4 bytes each), sequence, bytes (8 each)
//	        B       body (not in a head)
//	        …       zeros, up to a multiple of 64
//
// Salt is what nobody outside can know, so that no body can pretend to be a
// record where damage makes a scan look for the next one.
type record struct {
	kind     kind
	key      storage.Key
	sequence uint64
	stamp    uint64
	meta     []byte
	sums     []uint32
	parts    []part
	length   int64     // B
	body     []byte    // when it is written; reading leaves it where it is
	gathered *gathered // whose the body is, if it may be referred to; not of the record's bytes
}

func blocksOf(bodyBytes int64) int64 { return (bodyBytes + blockBytes - 1) / blockBytes }

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// sumsOf gives the checksums of a body's blocks.
func sumsOf(body []byte) []uint32 {
	sums := make([]uint32, 0, blocksOf(int64(len(body))))
	for len(body) > 0 {
		n := min(len(body), blockBytes)
		sums = append(sums, crc32.Checksum(body[:n], castagnoli))
		body = body[n:]
	}
	return sums
}

// frontBytes is how much stands before the body.
func (r *record) frontBytes() int64 {
	return frontBytes(r.kind, int64(len(r.meta)), int64(len(r.parts)), r.length)
}

func frontBytes(k kind, meta, parts, length int64) int64 {
	if k == kindHead {
		return recordHeadBytes + meta + parts*partBytes
	}
	return recordHeadBytes + meta + blocksOf(length)*sumBytes
}

// bytes is the length of the record in the log.
func (r *record) bytes() int64 {
	n := r.frontBytes()
	if r.kind != kindHead {
		n += r.length
	}
	return roundUp(n, unitBytes)
}

// accountedBytes is what an object whose main record this is takes of the
// budget: a body, wherever it lies, and the newest meta.
func (r *record) accountedBytes() int64 {
	n := r.bytes()
	if len(r.parts) == 1 { // a refreshed object is as large as one that was written anew
		return roundUp(frontBytes(kindObject, int64(len(r.meta)), 0, r.length)+r.length, unitBytes)
	}
	for _, p := range r.parts {
		n += roundUp(frontBytes(kindChunk, 0, 0, p.bytes)+p.bytes, unitBytes)
	}
	return n
}

// append appends the record to b.
func (r *record) append(b []byte, salt uint32) []byte {
	return r.appendPadding(append(r.appendFront(b, salt), r.body...))
}

// appendFront appends what stands before the body.
func (r *record) appendFront(b []byte, salt uint32) []byte {
	start := len(b)
	b = append(b, recordMagic...)
	b = append(b, recordVersion, byte(r.kind), 0, 0)
	b = append(b, r.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, r.sequence)
	b = binary.LittleEndian.AppendUint64(b, r.stamp)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.meta)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.parts)))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.length))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, r.meta...)
	for _, sum := range r.sums {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	for _, p := range r.parts {
		b = binary.LittleEndian.AppendUint32(b, p.region)
		b = binary.LittleEndian.AppendUint32(b, p.unit)
		b = binary.LittleEndian.AppendUint64(b, p.sequence)
		b = binary.LittleEndian.AppendUint64(b, uint64(p.bytes))
	}
	binary.LittleEndian.PutUint32(b[start+60:], frontSum(b[start:], salt))
	return b
}

// appendPadding appends the zeros behind the body.
func (r *record) appendPadding(b []byte) []byte {
	var zeros [unitBytes]byte
	return append(b, zeros[:r.bytes()-r.frontBytes()-int64(len(r.body))]...)
}

// frontSum is the checksum of a record's front, its own four bytes left out.
func frontSum(front []byte, salt uint32) uint32 {
	return crc32.Update(crc32.Update(salt, castagnoli, front[:60]), castagnoli, front[recordHeadBytes:])
}

// recordSize reads from the first 64 bytes of a record how long its front and
// the record are; recordMax bounds both. Nothing is verified yet.
func recordSize(head []byte, recordMax int64) (front, whole int64, ok bool) {
	if len(head) < recordHeadBytes || string(head[:4]) != recordMagic || head[4] != recordVersion {
		return 0, 0, false
	}
	k := kind(head[5])
	meta, parts := int64(binary.LittleEndian.Uint32(head[40:])), int64(binary.LittleEndian.Uint32(head[44:]))
	length := int64(binary.LittleEndian.Uint64(head[48:]))
	if k == kindNone || k > kindChunk || meta > storage.MetaBytesMax || length < 0 || (k != kindHead && (parts != 0 || length > recordMax)) {
		return 0, 0, false
	}
	front = frontBytes(k, meta, parts, length)
	whole = front
	if k != kindHead {
		whole += length
	}
	whole = roundUp(whole, unitBytes)
	return front, whole, whole <= recordMax
}

// decodeFront reads what append wrote, up to the body. b is that much exactly;
// the record keeps its meta. Errors wrap storage.ErrCorrupt.
func decodeFront(b []byte, salt uint32, recordMax int64) (*record, error) {
	front, _, ok := recordSize(b, recordMax)
	if !ok || front != int64(len(b)) {
		return nil, fmt.Errorf("no record: %w", storage.ErrCorrupt)
	}
	if binary.LittleEndian.Uint32(b[60:]) != frontSum(b, salt) {
		return nil, storage.ErrCorrupt
	}
	r := &record{
		kind: kind(b[5]), key: storage.Key(b[8:24]),
		sequence: binary.LittleEndian.Uint64(b[24:]), stamp: binary.LittleEndian.Uint64(b[32:]),
		length: int64(binary.LittleEndian.Uint64(b[48:])),
	}
	meta, parts := int(binary.LittleEndian.Uint32(b[40:])), int(binary.LittleEndian.Uint32(b[44:]))
	r.meta, b = b[recordHeadBytes:recordHeadBytes+meta:recordHeadBytes+meta], b[recordHeadBytes+meta:]
	if r.kind == kindHead {
		return r, r.decodeParts(b, parts)
	}
	r.sums = make([]uint32, len(b)/sumBytes)
	for i := range r.sums {
		r.sums[i] = binary.LittleEndian.Uint32(b[i*sumBytes:])
	}
	return r, nil
}

func (r *record) decodeParts(b []byte, parts int) error {
	r.parts = make([]part, parts)
	left := r.length
	for i := range r.parts {
		p := &r.parts[i]
		p.region, p.unit = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		p.sequence, p.bytes = binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint64(b[16:]))
		if b = b[partBytes:]; p.bytes < 0 || p.bytes > left {
			return fmt.Errorf("part %d: %w", i, storage.ErrCorrupt)
		}
		left -= p.bytes
	}
	if left != 0 {
		return fmt.Errorf("parts are %d bytes short: %w", left, storage.ErrCorrupt)
	}
	return nil
}
