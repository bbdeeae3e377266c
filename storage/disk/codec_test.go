package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"

	"weir/storage"
	"weir/storage/storagetest"
)

const testSalt = 12345

func testRecords(t testing.TB) []*record {
	meta, err := storagetest.Meta("a", 5, 10).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	body := storagetest.Body(1, 3*blockBytes/2)
	return []*record{
		{kind: kindTombstone, key: storage.KeyOf("a"), sequence: 7},
		{kind: kindObject, key: storage.KeyOf("b"), sequence: 8, stamp: 3, meta: meta},
		{kind: kindChunk, key: storage.KeyOf("c"), sequence: 9, length: int64(len(body)), body: body, sums: sumsOf(body)},
		{kind: kindHead, key: storage.KeyOf("d"), sequence: 10, meta: meta, length: 30, parts: []part{
			{place: place{region: 1, unit: 2}, sequence: 5, bytes: 10}, {place: place{region: 3}, sequence: 6, bytes: 20}}},
	}
}

func TestRecordRoundTrip(t *testing.T) {
	for _, r := range testRecords(t) {
		b := r.append(nil, testSalt)
		if int64(len(b)) != r.bytes() || len(b)%unitBytes != 0 {
			t.Fatalf("%s: %d bytes, want %d", r.kind, len(b), r.bytes())
		}
		front, whole, ok := recordSize(b, 1<<20)
		if !ok || whole != int64(len(b)) {
			t.Fatalf("%s: size %d, %t", r.kind, whole, ok)
		}
		got, err := decodeFront(b[:front], testSalt, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[front:front+int64(len(r.body))], r.body) {
			t.Errorf("%s: another body", r.kind)
		}
		got.body = r.body
		if len(got.sums) == 0 {
			got.sums = nil
		}
		if len(got.meta) == 0 {
			got.meta = nil
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v", r, got)
		}
		if _, err := decodeFront(b[:front], testSalt+1, 1<<20); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: another salt: %v", r.kind, err)
		}
	}
}

// TestEveryBitCounts flips each bit of a record's front, and of a footer.
func TestEveryBitCounts(t *testing.T) {
	for _, r := range testRecords(t) {
		b := r.append(nil, testSalt)[:r.frontBytes()]
		for bit := range len(b) * 8 {
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := decodeFront(b, testSalt, 1<<20); err == nil {
				t.Fatalf("%s: bit %d is not covered", r.kind, bit)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	f := appendFooter(nil, []footerEntry{{key: storage.KeyOf("a"), sequence: 9, unit: 1, units: 2, accounted: 128, kind: kindHead}}, 8, testSalt)
	for bit := range len(f) * 8 {
		f[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeFooter(f, 8, testSalt, 1<<20); err == nil {
			t.Fatalf("footer: bit %d is not covered", bit)
		}
		f[bit/8] ^= 1 << (bit % 8)
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range testRecords(f) {
		f.Add(r.append(nil, testSalt)[:r.frontBytes()])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= recordHeadBytes { // else no input but the seeds would get past the checksum
			binary.LittleEndian.PutUint32(b[60:], frontSum(b, testSalt))
		}
		r, err := decodeFront(b, testSalt, 1<<20)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		if r.frontBytes() != int64(len(b)) || r.bytes() > 1<<20 || r.accountedBytes() < 0 {
			t.Fatalf("%+v of %d bytes", r, len(b))
		}
	})
}

func FuzzFooter(f *testing.F) {
	f.Add(appendFooter(nil, []footerEntry{{key: storage.KeyOf("a"), sequence: 9, unit: 1, units: 2, accounted: 128, kind: kindHead}}, 8, testSalt))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= footerTrailerBytes {
			sum := crc32.Update(testSalt, castagnoli, b[:len(b)-4])
			binary.LittleEndian.PutUint32(b[len(b)-4:], sum)
		}
		entries, err := decodeFooter(b, 8, testSalt, 1<<20)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		for _, e := range entries {
			if end := int64(e.unit) + int64(e.units); end*unitBytes > 1<<20 || e.accounted < 0 {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	c := &checkpoint{sequence: 7, regions: []checkpointRegion{{0, 3}, {5, 9}}}
	c.shards[2] = checkpointShard{slots: 3, sum: 4}
	f.Add(c.append(nil, testSalt))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= checkpointHeadBytes {
			binary.LittleEndian.PutUint32(b[60:], frontSum(b, testSalt))
		}
		c, err := decodeCheckpoint(b, testSalt, 8)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		clear(b[24:60]) // says nothing
		binary.LittleEndian.PutUint32(b[60:], frontSum(b, testSalt))
		if !bytes.Equal(c.append(nil, testSalt), b) || c.bytes() < int64(len(b)) {
			t.Fatalf("%+v", c)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1}, regionRow{state: regionSealed, firstSequence: 4, turn: 2}.append([]byte{0, 0, 0, 1}))
	f.Add(keyStore, storeRow{salt: 1, regionBytes: 5}.append(nil))
	f.Add(keySwept, sweptMark{from: 1, to: 9, last: 8, version: 3}.append(nil, 7))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if row, err := decodeRegionRow(key, value); err == nil && !bytes.Equal(row.append(key), value) {
			t.Fatalf("%+v", row)
		}
		if m, ok := decodeSwept(value, 7); ok && !bytes.Equal(m.append(nil, 7), value) {
			t.Fatalf("%+v", m)
		}
		if row, err := decodeStoreRow(value); err == nil && row.salt != 0 && decodeAgain(row) != row {
			t.Fatalf("%+v", row)
		}
	})
}

func decodeAgain(row storeRow) storeRow {
	again, _ := decodeStoreRow(row.append(nil))
	return again
}
