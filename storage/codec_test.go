package storage

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"weir/cache/rfc9111"
)

func fullMeta() *Meta {
	return &Meta{
		Site: "docs", Host: "docs.example", Target: "/a/b?c=d", Variant: "accept-encoding=gzip",
		BodyID: 1<<63 + 5, BodyBytes: 123456, Start: 1 << 40, Size: 1<<40 + 123456, Stamp: 77, Groups: []string{"g"}, GroupStamp: 1<<40 + 3,
		Tags: []string{"page", "", "section-1"}, Status: 200, Vary: []string{"accept-encoding"},
		Header: []byte("Content-Type: text/html\r\n"), ETag: `W/"x"`, LastModified: "Mon, 01 Jan 2024 00:00:00 GMT",
		Stored: rfc9111.Stored{
			ResponseTime: time.Unix(1_700_000_000, 999_999_999).UTC(), InitialAge: time.Second, Lifetime: time.Hour,
			StaleWhileRevalidate: time.Minute, StaleIfError: -time.Minute, NoCache: true, MustRevalidate: true,
		},
	}
}

func TestMetaRoundTrip(t *testing.T) {
	unknown := fullMeta()
	unknown.BodyBytes, unknown.Tags, unknown.Stored.NoCache = -1, nil, false
	for name, m := range map[string]*Meta{"zero": {}, "full": fullMeta(), "length unknown": unknown} {
		b, err := m.AppendBinary([]byte("before"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got Meta
		if err := got.UnmarshalBinary(b[len("before"):]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(&got, m) {
			t.Errorf("%s: got %+v\nwant %+v", name, &got, m)
		}
	}
}

// A field added to Meta or Stored must be added to the codec, to Bytes and to
// fullMeta: this test fails until somebody has thought of it.
func TestMetaCodecKnowsEveryField(t *testing.T) {
	m := reflect.ValueOf(fullMeta()).Elem()
	for _, v := range []reflect.Value{m, m.FieldByName("Stored")} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("fullMeta leaves %s.%s at zero", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
}

func TestMetaLimits(t *testing.T) {
	tooLarge := map[string]func(*Meta){
		"text":   func(m *Meta) { m.Target = strings.Repeat("x", metaTextBytesMax+1) },
		"header": func(m *Meta) { m.Header = make([]byte, metaHeaderBytesMax+1) },
		"list":   func(m *Meta) { m.Tags = make([]string, metaListTextsMax+1) },
		"tag":    func(m *Meta) { m.Tags = []string{strings.Repeat("x", metaTextBytesMax+1)} },
		"status": func(m *Meta) { m.Status = 1 << 16 },
		"all":    func(m *Meta) { m.Tags = strings.Split(strings.Repeat(strings.Repeat("x", 1000)+" ", 1100), " ") },
	}
	for name, change := range tooLarge {
		m := fullMeta()
		change(m)
		b, err := m.AppendBinary([]byte("before"))
		if !errors.Is(err, ErrTooLarge) || string(b) != "before" {
			t.Errorf("%s: %d bytes, %v; want ErrTooLarge and nothing appended", name, len(b), err)
		}
	}
}

func TestMetaDecodeRefusesDamage(t *testing.T) {
	whole, err := fullMeta().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m Meta
	for n := range whole {
		if m.UnmarshalBinary(whole[:n]) == nil {
			t.Fatalf("the first %d of %d bytes were taken for a meta", n, len(whole))
		}
	}
	for name, b := range map[string][]byte{
		"a byte too many":  append(append([]byte(nil), whole...), 0),
		"another version":  append([]byte{metaVersion + 1}, whole[1:]...),
		"an unknown flag":  append([]byte{metaVersion, 0x80}, whole[2:]...),
		"beyond the limit": make([]byte, MetaBytesMax+1),
	} {
		if m.UnmarshalBinary(b) == nil {
			t.Errorf("%s: taken for a meta", name)
		}
	}
}

// What is decoded is decoded for hits: all its bytes are one allocation.
func TestMetaDecodeAllocates(t *testing.T) {
	m := fullMeta()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	texts := len(m.Tags) + len(m.Vary) + len(m.Groups)
	for _, row := range []struct {
		room  int
		wants float64
	}{{texts, 1}, {texts - 1, 2}, {0, 2}} {
		var got Meta
		room := make([]string, row.room)
		if n := testing.AllocsPerRun(100, func() { _ = got.Decode(b, room) }); n != row.wants {
			t.Errorf("room for %d of %d texts: %v allocations, want %v", row.room, texts, n, row.wants)
		}
		if !reflect.DeepEqual(&got, m) {
			t.Errorf("room for %d texts: got %+v", row.room, &got)
		}
	}
}

// Every part of a decoded meta is its own to those who append to it, and none
// is a part of what it was decoded from.
func TestMetaDecodeKeepsPartsApart(t *testing.T) {
	b, err := fullMeta().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Meta
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	clear(b)
	_ = append(got.Header, "appended to the header"...)
	for _, list := range [][]string{got.Tags, got.Vary, got.Groups} {
		_ = append(list, "appended to a list")
	}
	if !reflect.DeepEqual(&got, fullMeta()) {
		t.Errorf("got %+v", &got)
	}
}

func TestMetaBytesCoversTheStruct(t *testing.T) {
	var m Meta
	if got, want := m.Bytes(), int64(unsafe.Sizeof(m)); got < want || got > want+200 {
		t.Errorf("an empty Meta accounts for %d bytes, the struct alone has %d", got, want)
	}
	full := fullMeta()
	full.Header = make([]byte, 1000)
	if full.Bytes() < m.Bytes()+1000 {
		t.Error("the header is not accounted for")
	}
}

func FuzzMetaDecode(f *testing.F) {
	for _, m := range []*Meta{{}, fullMeta()} {
		b, err := m.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Meta
		if m.UnmarshalBinary(b) != nil {
			return
		}
		encoded, err := m.AppendBinary(nil)
		if err != nil {
			t.Fatalf("decoded but cannot be encoded: %v", err)
		}
		if err := again.UnmarshalBinary(encoded); err != nil || !reflect.DeepEqual(&m, &again) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}
