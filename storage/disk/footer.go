package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"weir/storage"
)

const (
	footerMagic        = "weirfoot"
	footerEntryBytes   = 40
	footerTrailerBytes = 64
)

// footerEntry is what the footer of a region says of one record.
type footerEntry struct {
	key       storage.Key
	sequence  uint64
	unit      uint32
	units     uint32 // length of the record
	accounted int64  // bytes that the object takes of the budget; 0 for a chunk or tombstone
	kind      kind
}

// The footer of a sealed region stands at its end, entries in the order of
// their records; integers are little-endian:
//
//	bytes   field
//	40 × N  entries: key (16 bytes), sequence (8), unit and units (4 each), accounted bytes in units (7), kind (1)
//	8       "weirfoot"
//	8       first sequence of the region, as in the region table
//	4       N
//	40      zeros
//	4       crc32c of the directory's salt and of all of this before it
//
// footerBytes is its length.
func footerBytes(entries int) int64 {
	return int64(entries)*footerEntryBytes + footerTrailerBytes
}

func appendFooter(b []byte, entries []footerEntry, firstSequence uint64, salt uint32) []byte {
	start := len(b)
	for _, e := range entries {
		b = append(b, e.key[:]...)
		b = binary.LittleEndian.AppendUint64(b, e.sequence)
		b = binary.LittleEndian.AppendUint32(b, e.unit)
		b = binary.LittleEndian.AppendUint32(b, e.units)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.accounted/unitBytes)|uint64(e.kind)<<56)
	}
	b = append(b, footerMagic...)
	b = binary.LittleEndian.AppendUint64(b, firstSequence)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = append(b, make([]byte, 40)...)
	return binary.LittleEndian.AppendUint32(b, crc32.Update(salt, castagnoli, b[start:]))
}

// decodeTrailer reads how many entries stand before the last 64 bytes of a
// region whose first sequence is known.
func decodeTrailer(b []byte, firstSequence uint64, regionBytes int64) (entries int, err error) {
	if len(b) != footerTrailerBytes || string(b[:8]) != footerMagic || binary.LittleEndian.Uint64(b[8:]) != firstSequence {
		return 0, fmt.Errorf("no footer: %w", storage.ErrCorrupt)
	}
	n := int64(binary.LittleEndian.Uint32(b[16:]))
	if n > regionBytes/footerEntryBytes || footerBytes(int(n)) > regionBytes {
		return 0, fmt.Errorf("footer of %d entries: %w", n, storage.ErrCorrupt)
	}
	return int(n), nil
}

// decodeFooter reads what appendFooter wrote. Errors wrap storage.ErrCorrupt.
func decodeFooter(b []byte, firstSequence uint64, salt uint32, regionBytes int64) ([]footerEntry, error) {
	if len(b) < footerTrailerBytes {
		return nil, fmt.Errorf("footer of %d bytes: %w", len(b), storage.ErrCorrupt)
	}
	n, err := decodeTrailer(b[len(b)-footerTrailerBytes:], firstSequence, regionBytes)
	if err != nil {
		return nil, err
	}
	body, sum := b[:len(b)-sumBytes], binary.LittleEndian.Uint32(b[len(b)-sumBytes:])
	if footerBytes(n) != int64(len(b)) || crc32.Update(salt, castagnoli, body) != sum {
		return nil, fmt.Errorf("footer: %w", storage.ErrCorrupt)
	}
	entries := make([]footerEntry, n)
	for i := range entries {
		e := b[i*footerEntryBytes:]
		last := binary.LittleEndian.Uint64(e[32:])
		entries[i] = footerEntry{
			key: storage.Key(e[:16]), sequence: binary.LittleEndian.Uint64(e[16:]),
			unit: binary.LittleEndian.Uint32(e[24:]), units: binary.LittleEndian.Uint32(e[28:]),
			accounted: int64(last&(1<<56-1)) * unitBytes, kind: kind(last >> 56),
		}
		if end := int64(entries[i].unit) + int64(entries[i].units); end*unitBytes > regionBytes || entries[i].units == 0 {
			return nil, fmt.Errorf("footer entry %d: %w", i, storage.ErrCorrupt)
		}
	}
	return entries, nil
}
