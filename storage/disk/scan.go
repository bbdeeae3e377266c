package disk

import (
	"errors"
	"io"
	"slices"

	"weir/storage"
)

const (
	scanWindowBytes = 1 << 20
	// wastedRegionsMax bounds, in lengths of a region, what a scan reads of long fronts
	// that prove to be none. A body that is full of what looks like the heads of such,
	// behind damage, could keep a start busy for an hour: beyond the bound only fronts
	// up to frontGuessBytes are looked at.
	wastedRegionsMax = 32
)

// logReader reads a log that belongs to a table: what start-up, the reclaiming
// of a region and a look from outside have in common.
type logReader struct {
	file     io.ReaderAt
	geometry geometry
	salt     uint32
	// torn, if set, has a scan verify bodies, too, and is told of each that is not
	// what it should be: a kill cuts a write anywhere, and what a record whose
	// body is not there replaces is better than it.
	torn func()
	// damaged, if set, is told by a scan of each stretch that has no record where
	// there should be one; at last, that nothing is behind it.
	damaged func(region uint32, from, to int64, last bool)
}

// footer reads the footer of a region. An error that wraps storage.ErrCorrupt says
// that it has none.
func (l logReader) footer(region uint32, firstSequence uint64) ([]footerEntry, error) {
	end := int64(region+1) * l.geometry.regionBytes
	trailer := make([]byte, footerTrailerBytes)
	if err := l.readFull(trailer, end-footerTrailerBytes); err != nil {
		return nil, err
	}
	n, err := decodeTrailer(trailer, firstSequence, l.geometry.regionBytes)
	if err != nil {
		return nil, err
	}
	b := make([]byte, footerBytes(n))
	if err := l.readFull(b, end-int64(len(b))); err != nil {
		return nil, err
	}
	return decodeFooter(b, firstSequence, l.salt, l.geometry.regionBytes)
}

func (l logReader) readFull(p []byte, off int64) error { return readFullAt(l.file, p, off) }

// readFullAt reads all of p; too few bytes are storage.ErrCorrupt.
func readFullAt(file io.ReaderAt, p []byte, off int64) error {
	n, err := file.ReadAt(p, off)
	if n < len(p) && (err == nil || err == io.EOF) {
		return storage.ErrCorrupt
	}
	if n == len(p) {
		return nil
	}
	return err
}

// scan finds the records of a region that has no footer. Behind damage it looks
// for the next record; what an earlier life of the region left there has a
// sequence below the first one, or below that of a record before it.
func (l logReader) scan(region uint32, firstSequence uint64) ([]footerEntry, error) {
	var entries []footerEntry
	last, end := firstSequence, int64(0) // of the last record
	w := window{file: l.file, base: int64(region) * l.geometry.regionBytes, bytes: l.geometry.regionBytes}
	for off := int64(0); off+recordHeadBytes <= w.bytes; {
		r, whole, err := l.record(&w, off)
		if err != nil {
			return nil, err
		}
		if r != nil && r.sequence > last && l.torn != nil {
			if whole, err := l.hasBody(&w, r, off); err != nil {
				return nil, err
			} else if !whole {
				l.torn()
				r = nil
			}
		}
		if r == nil || r.sequence <= last {
			off = w.skip(off + unitBytes)
			continue
		}
		if off > end && l.damaged != nil {
			l.damaged(region, end, off, false)
		}
		last, end = r.sequence, off+whole
		e := footerEntry{
			key: r.key, sequence: r.sequence, unit: uint32(off / unitBytes), units: uint32(whole / unitBytes), kind: r.kind,
		}
		if r.kind == kindObject || r.kind == kindHead {
			e.accounted = r.accountedBytes()
		}
		entries = append(entries, e)
		off += whole
	}
	return entries, l.endOf(&w, region, end)
}

// endOf looks at what stands behind the last record that a scan has found: a head
// whose front is not what its checksum says was cut by a kill, or is damaged.
func (l logReader) endOf(w *window, region uint32, end int64) error {
	if l.damaged == nil {
		return nil
	}
	head, err := w.at(end, recordHeadBytes)
	if err != nil || head == nil {
		return err
	}
	_, whole, ok := recordSize(head, l.geometry.recordMax)
	if !ok {
		return nil
	}
	r, _, err := l.record(w, end)
	if err == nil && r == nil {
		l.damaged(region, end, end+whole, true)
	}
	return err
}

// record decodes the front of the record at an offset of the window; nil if
// there is none.
func (l logReader) record(w *window, off int64) (r *record, whole int64, err error) {
	head, err := w.at(off, recordHeadBytes)
	if err != nil || head == nil {
		return nil, 0, err
	}
	front, whole, ok := recordSize(head, l.geometry.recordMax)
	if !ok || off+whole > l.geometry.regionBytes || front > frontGuessBytes && w.wasted > wastedRegionsMax*l.geometry.regionBytes {
		return nil, 0, nil
	}
	b, err := w.at(off, front)
	if err != nil || b == nil {
		return nil, 0, err
	}
	r, err = decodeFront(b, l.salt, l.geometry.recordMax)
	if errors.Is(err, storage.ErrCorrupt) {
		w.wasted += front
		return nil, 0, nil
	}
	return r, whole, err
}

// hasBody says whether the body of the record at an offset is what it should be.
func (l logReader) hasBody(w *window, r *record, off int64) (bool, error) {
	if r.kind == kindHead || r.length == 0 {
		return true, nil
	}
	b, err := w.at(off+r.frontBytes(), r.length)
	return slices.Equal(sumsOf(b), r.sums), err
}

// entries gives what is in a region: from its footer, or else by a scan.
func (l logReader) entries(region uint32, firstSequence uint64) (entries []footerEntry, footed bool, err error) {
	if entries, err = l.footer(region, firstSequence); err == nil {
		return entries, true, nil
	}
	entries, err = l.scan(region, firstSequence)
	return entries, false, err
}

// window reads a region from front to end in large pieces.
type window struct {
	file  io.ReaderAt
	base  int64
	bytes int64 // of the region, or how much of it the file has, once its end has been met
	off   int64 // where buffer begins
	data  []byte
	// wasted is how long the fronts were that were read and proved to be none.
	wasted int64
}

// at gives n bytes from an offset on; nil beyond the end. They are good until
// the next call.
func (w *window) at(off, n int64) ([]byte, error) {
	if off+n > w.bytes {
		return nil, nil
	}
	if off < w.off || off+n > w.off+int64(len(w.data)) {
		data := make([]byte, min(max(n, scanWindowBytes), w.bytes-off))
		got, err := w.file.ReadAt(data, w.base+off)
		if err != nil && err != io.EOF {
			return nil, err
		}
		w.off, w.data = off, data[:got]
		if got < len(data) { // a file that was cut short: nothing is behind it, and nobody need look
			w.bytes = off + int64(got)
		}
		if int64(got) < n {
			return nil, nil
		}
	}
	return w.data[off-w.off : off-w.off+n : off-w.off+n], nil
}

// skip gives the first offset from off on where a record may begin, as far as what
// has been read says.
func (w *window) skip(off int64) int64 {
	for ; off >= w.off && off+recordHeadBytes <= w.off+int64(len(w.data)); off += unitBytes {
		if string(w.data[off-w.off:][:len(recordMagic)]) == recordMagic {
			break
		}
	}
	return off
}
