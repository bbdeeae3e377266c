// Package storagetest is the suite that every storage.Store passes.
package storagetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// Open makes an empty store with a budget. It must take bodies up to a
// sixteenth of the budget. The suite closes it.
type Open func(t *testing.T, budgetBytes int64) storage.Store

// roomyBytes is a budget that the tests which are not about budgets never fill.
const roomyBytes = 32 << 20

// Run runs the suite.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		test func(t *testing.T, s storage.Store)
	}{
		{"Missing", testMissing},
		{"VisibleOnlyAfterCommit", testVisibleOnlyAfterCommit},
		{"MetaIsKept", testMetaIsKept},
		{"ReadWhileWriting", testReadWhileWriting},
		{"CloseWithoutCommit", testCloseWithoutCommit},
		{"WriterStates", testWriterStates},
		{"DeclaredLength", testDeclaredLength},
		{"ReadAtEdges", testReadAtEdges},
		{"Replace", testReplace},
		{"DeleteWhileOpen", testDeleteWhileOpen},
		{"Refresh", testRefresh},
		{"RefreshWhileOpen", testRefreshWhileOpen},
		{"Checked", testChecked},
		{"Peek", testPeek},
		{"Clear", testClear},
		{"RandomAgainstMap", testRandomAgainstMap},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, roomyBytes)
			test.test(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Run("Closed", func(t *testing.T) { testClosed(t, open(t, roomyBytes)) })
	runBudget(t, open)
	t.Run("Race", func(t *testing.T) { testRace(t, open) })
}

// Body is the body that the suite stores under a BodyID: bytes that are those of
// no other body and no other place in it, so that whatever is read can be told
// from its meta. It is made of one random page with the page's number on it,
// since the suite needs many of them.
func Body(id uint64, n int64) []byte {
	const pageBytes = 4000 // no divisor of a block's size
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%d-%d", id, n))
	b := make([]byte, n+pageBytes)
	if _, err := rand.NewChaCha8(seed).Read(b[:pageBytes]); err != nil {
		panic(err) // it is documented never to fail
	}
	for at := int64(0); at < n; at += pageBytes {
		copy(b[at:], b[:pageBytes])
		binary.LittleEndian.PutUint64(b[at:], uint64(at)^id)
	}
	return b[:n]
}

// Meta is a meta with something in every field, for the object called name.
func Meta(name string, id uint64, bodyBytes int64) *storage.Meta {
	return &storage.Meta{
		Site: "site", Host: "host.example", Target: "/" + name, Variant: "gzip",
		BodyID: id, BodyBytes: bodyBytes, Stamp: id, Tags: []string{"tag-" + name, "all"},
		Status: 200, Vary: []string{"accept-encoding"}, Header: []byte("Content-Type: text/plain\r\n"),
		ETag: fmt.Sprintf(`"%d"`, id), LastModified: "Mon, 01 Jan 2024 00:00:00 GMT",
		Stored: rfc9111.Stored{
			ResponseTime: time.Unix(1_700_000_000, 5).UTC(), InitialAge: time.Second,
			Lifetime: time.Hour, StaleIfError: time.Minute, MustRevalidate: true,
		},
	}
}

// Put stores Body(id, n) under name.
func Put(s storage.Store, name string, id uint64, n int64) error {
	return PutMeta(s, name, Meta(name, id, n))
}

// PutMeta stores the body that m names, in pieces of an odd size.
func PutMeta(s storage.Store, name string, m *storage.Meta) (err error) {
	body := Body(m.BodyID, m.BodyBytes)
	w, err := s.Create(storage.KeyOf(name), m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for len(body) > 0 {
		n := min(len(body), 40_001)
		if _, err := w.Write(body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return w.Commit()
}

// Check reads all of an object in both ways and says what is wrong with it.
func Check(name string, o storage.Object) error {
	m := o.Meta()
	if m.Target != "/"+name {
		return fmt.Errorf("%s: has the meta of %s", name, m.Target)
	}
	want := Body(m.BodyID, m.BodyBytes)
	var got bytes.Buffer
	if n, err := o.WriteTo(&got); err != nil || n != int64(got.Len()) {
		return fmt.Errorf("%s: WriteTo gave %d of %d bytes: %w", name, n, len(want), err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%s: WriteTo gave other bytes", name)
	}
	read, err := io.ReadAll(io.NewSectionReader(o, 0, 1<<40))
	if err != nil {
		return fmt.Errorf("%s: ReadAt: %w", name, err)
	}
	if !bytes.Equal(read, want) {
		return fmt.Errorf("%s: ReadAt gave other bytes", name)
	}
	return nil
}

func mustPut(t *testing.T, s storage.Store, name string, id uint64, n int64) {
	t.Helper()
	if err := Put(s, name, id, n); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func mustGet(t *testing.T, s storage.Store, name string) storage.Object {
	t.Helper()
	o, err := s.Get(storage.KeyOf(name))
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return o
}

// wantBody checks that name is stored with the body id and nothing else.
func wantBody(t *testing.T, s storage.Store, name string, id uint64) {
	t.Helper()
	o := mustGet(t, s, name)
	defer mustClose(t, o)
	if err := Check(name, o); err != nil {
		t.Fatal(err)
	}
	if o.Meta().BodyID != id {
		t.Fatalf("%s: body %d, want %d", name, o.Meta().BodyID, id)
	}
}

func wantMissing(t *testing.T, s storage.Store, name string) {
	t.Helper()
	if o, err := s.Get(storage.KeyOf(name)); !errors.Is(err, storage.ErrNotFound) || o != nil {
		t.Fatalf("get %s: %v, %v; want ErrNotFound", name, o, err)
	}
}

func mustClose(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func mustCreate(t *testing.T, s storage.Store, name string, m *storage.Meta) storage.Writer {
	t.Helper()
	w, err := s.Create(storage.KeyOf(name), m)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return w
}

func mustWrite(t *testing.T, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func wantStats(t *testing.T, s storage.Store, objects int, bytes int64) {
	t.Helper()
	if got := s.Stats(); got.Objects != objects || got.Bytes != bytes {
		t.Fatalf("stats: %d objects, %d bytes; want %d and %d", got.Objects, got.Bytes, objects, bytes)
	}
}

func wantMeta(t *testing.T, got, want *storage.Meta) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("meta %+v\nwant %+v", got, want)
	}
}
