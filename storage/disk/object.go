package disk

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"weir/storage"
)

// openTriesMax is how often a look-up begins again because its object was
// written elsewhere meanwhile.
const openTriesMax = 4

// errGone says that a part's region has been written again: a kill came between
// that and the note that its object was evicted.
var errGone = errors.New("written again since")

// object is a stored object, open for reading. What it reads stays where it is:
// its opening pins the region of the main record, and pinned has those of the parts.
type object struct {
	body
	entry   entry
	opening *opening
	record  *record
	meta    *storage.Meta
	whole   []byte // the body, verified, if it was read with its record
	pinned  []part
	closed  atomic.Bool
}

var _ storage.Object = (*object)(nil)

// open opens the object of a key for a reader. ErrNotFound if there is none that
// can be read.
func (v *volume) open(k storage.Key) (*object, error) {
	for range openTriesMax {
		o, err := v.openOnce(k)
		switch {
		case err == nil:
			o.markHit()
			return o, nil
		case errors.Is(err, errChanged):
			continue
		case o != nil && !errors.Is(err, storage.ErrNotFound):
			v.drop(k, o.entry, err)
		}
		return nil, storage.ErrNotFound
	}
	return nil, storage.ErrNotFound
}

// openOnce opens the object of a key, which is no use of it. The object comes with
// an error, too, if it is there but cannot be read; it is then no more open.
func (v *volume) openOnce(k storage.Key) (*object, error) {
	opening, e := v.index.take(fingerprintOf(k), v.pin)
	if opening == nil {
		return nil, storage.ErrNotFound
	}
	o := &object{body: body{volume: v, key: k}, entry: e, opening: opening}
	err := o.read()
	if err != nil {
		o.release()
	}
	return o, err
}

// read reads the main record. errChanged says that the object has another one by
// now, ErrNotFound that this one is of another key.
func (o *object) read() error {
	whole := int64(0)
	if o.entry.kind() == kindObject {
		whole = o.entry.accounted()
	}
	v := o.volume
	r, rest, err := v.readRecord(o.opening.place, whole)
	if err != nil {
		return err
	}
	if r.key != o.key {
		return storage.ErrNotFound
	}
	if r.kind != o.entry.kind() {
		return fmt.Errorf("a %s and not a %s: %w", r.kind, o.entry.kind(), storage.ErrCorrupt)
	}
	if o.whole, err = wholeBody(r, rest); err != nil {
		return err
	}
	o.record, o.meta = r, new(storage.Meta)
	if err := o.meta.UnmarshalBinary(r.meta); err != nil {
		return errors.Join(err, storage.ErrCorrupt)
	}
	if o.meta.BodyBytes != r.length {
		return fmt.Errorf("meta and record differ in length: %w", storage.ErrCorrupt)
	}
	return o.findParts()
}

// findParts pins the parts. A look-up and the reclaiming of a region can meet:
//
//  1. read reads a head that names a part in region 5.
//  2. Region 5 is taken back: the part is copied, and a new head written.
//  3. Region 5 is written again.
//  4. read pins region 5.
//
// So the head must still be the object's main record after its parts have been
// pinned: then 2 has not happened yet, and 3 will find the pin.
func (o *object) findParts() error {
	if o.record.kind == kindObject {
		s := o.add(part{place: o.opening.place, sequence: o.record.sequence, bytes: o.record.length})
		s.front.Store(&front{bytes: o.record.frontBytes(), sums: o.record.sums})
		return nil
	}
	v := o.volume
	for _, p := range o.record.parts {
		if int(p.region) >= len(v.regions) || p.offset() >= v.geometry.regionBytes {
			return fmt.Errorf("part in region %d: %w", p.region, storage.ErrCorrupt)
		}
		v.pin(p.region)
		o.pinned = append(o.pinned, p)
		o.add(p)
	}
	if !v.index.get(fingerprintOf(o.key)).same(o.entry) {
		return errChanged
	}
	for _, p := range o.record.parts {
		if !v.regions[p.region].holds(p.sequence) {
			return fmt.Errorf("region %d: %w", p.region, errGone)
		}
	}
	return nil
}

// markHit notes that the object was asked for, once it has left the region that
// is being written: what is asked for right after it was stored says little
// about whether it will be again.
func (o *object) markHit() {
	if !o.entry.hit() && o.settled() {
		o.volume.index.markHit(fingerprintOf(o.key), o.entry)
	}
}

func (o *object) settled() bool { return !o.volume.regions[o.opening.place.region].is(regionOpen) }

// release gives back what keeps the object's regions.
func (o *object) release() {
	for _, p := range o.pinned {
		o.volume.unpin(p.region)
	}
	o.pinned = nil
	if o.volume.index.give(fingerprintOf(o.key), o.opening) {
		o.volume.unpin(o.opening.place.region)
	}
}

// ReadAt implements storage.Object.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	switch {
	case o.closed.Load():
		return 0, storage.ErrClosed
	case o.whole == nil:
		n, err = o.readAt(p, off)
	case off < 0:
		return 0, errNegativeOffset
	default:
		n = copy(p, o.whole[min(off, int64(len(o.whole))):])
		if n < len(p) {
			err = io.EOF
		}
	}
	if err != nil && err != io.EOF && !errors.Is(err, errNegativeOffset) {
		o.volume.drop(o.key, o.entry, err)
		return n, fmt.Errorf("disk: read %s: %w", o.key, err)
	}
	return n, err
}

// WriteTo implements storage.Object. It writes a body that was read with its record in
// one go, and others block by block.
func (o *object) WriteTo(w io.Writer) (written int64, err error) {
	if o.closed.Load() {
		return 0, storage.ErrClosed
	}
	if o.whole != nil {
		n, err := w.Write(o.whole)
		return int64(n), err
	}
	buffer := o.volume.blocks.Get().(*[]byte)
	defer o.volume.blocks.Put(buffer)
	for written < o.length {
		p := (*buffer)[:min(blockBytes, o.length-written)]
		if n, err := o.ReadAt(p, written); n < len(p) {
			return written, err
		}
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Meta implements storage.Object.
func (o *object) Meta() *storage.Meta { return o.meta }

// Tier implements storage.Object.
func (o *object) Tier() storage.Tier { return storage.TierDisk }

// Checked implements storage.Object.
func (o *object) Checked() *atomic.Uint64 {
	return o.volume.checked.of(o.key, o.record.sequence, o.known())
}

// compared is what Checked holds, for who does not use the object.
func (o *object) compared() uint64 {
	return o.volume.checked.peek(o.key, o.record.sequence, o.known())
}

// known is the version that the disk says the object was compared with: by a sweep,
// if it is above the stamp. What look-ups compared it with is not written down, and so
// never as high as the newest purge.
func (o *object) known() uint64 {
	return o.volume.comparedWith(o.record.sequence, max(o.record.stamp, o.meta.Stamp))
}

// Close implements storage.Object.
func (o *object) Close() error {
	if o.closed.Swap(true) {
		return fmt.Errorf("disk: close %s: %w", o.key, storage.ErrClosed)
	}
	o.release()
	return nil
}
