package release

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleManifest() *Manifest {
	return &Manifest{Release: 7, Entries: []Entry{
		{Key: "404.html", Sum: SumOf([]byte("lost")), Bytes: 4, Type: "text/html", Cache: "max-age=0", Kind: KindPage},
		{Key: "a b/ü.txt", Sum: SumOf(nil), Type: "text/plain", Cache: "max-age=0", Edge: "max-age=60"},
		{Key: "app.0123abcd.js", Sum: SumOf([]byte("js")), Bytes: 2, Type: "text/javascript", Cache: "immutable", Kind: KindAsset, Kept: true},
	}}
}

func samplePointer() *Pointer {
	from := SumOf([]byte("from"))
	return &Pointer{
		Current: 1, Last: 3,
		Releases: []Ref{
			{Number: 3, Manifest: SumOf([]byte("3")), At: time.Unix(1, 0).UTC(), Previous: 1, Files: 2, Bytes: 3, Note: "x"},
			{Number: 1, Manifest: SumOf([]byte("1")), At: time.Unix(2, 0).UTC()},
		},
		Pending: &Pending{Key: "k", From: &from, To: SumOf([]byte("1"))},
		Sweep:   &Sweep{By: "me", Until: time.Unix(3, 0).UTC()},
	}
}

func TestRoundTrip(t *testing.T) {
	m := sampleManifest()
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeManifest(text); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v", got, err)
	}
	p := samplePointer()
	if text, err = p.Encode(); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodePointer(text); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	if p.CurrentRef().Number != 1 || p.Ref(2) != nil {
		t.Error("the wrong release is found")
	}
}

func TestFind(t *testing.T) {
	m := sampleManifest()
	for i := range m.Entries {
		if m.Find(m.Entries[i].Key) != &m.Entries[i] {
			t.Errorf("%q is not found", m.Entries[i].Key)
		}
	}
	for _, key := range []string{"", "4", "404.html/", "b", "~"} {
		if m.Find(key) != nil {
			t.Errorf("%q is found", key)
		}
	}
}

// What must not be taken for a manifest, by what is changed in a good one.
func TestManifestRefused(t *testing.T) {
	good, err := sampleManifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for old, changed := range map[string]string{
		`"format":1`:             `"format":2`,
		`"release":7`:            `"release":0`,
		`"404.html"`:             `"b.html"`,
		`"key":"a b/ü.txt"`:      `"key":"404.html"`,
		`"key":"404.html"`:       `"key":"/404.html"`,
		`"key":"app.0123abcd.js`: `"key":"c/.Weir/x`,
		`"bytes":4`:              `"bytes":-4`,
		`"type":"text/html"`:     `"type":""`,
		`"text/plain"`:           `"text/plain\r\nX: y"`,
		`"kind":"page"`:          `"kind":"other"`,
		"\n]}":                   "\n]} {}",
		"\n]}\n":                 "\n]",
		`{"format"`:              `["format"`,
	} {
		text := strings.Replace(string(good), old, changed, 1)
		if text == string(good) {
			t.Fatalf("%q is not in the manifest", old)
		}
		if _, err := DecodeManifest([]byte(text)); err == nil {
			t.Errorf("%q for %q is taken", changed, old)
		}
	}
}

func TestPointerRefused(t *testing.T) {
	good, err := samplePointer().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for old, changed := range map[string]string{
		`"format": 1`:  `"format": 9`,
		`"current": 1`: `"current": 3`,
		`"last": 3`:    `"last": 2`,
		`"number": 3`:  `"number": 1`,
		`"key": "k"`:   `"key": ""`,
		`"by": "me"`:   `"by": ""`,
		`"files": 2`:   `"files": -2`,
	} {
		text := strings.Replace(string(good), old, changed, 1)
		if text == string(good) {
			t.Fatalf("%q is not in the pointer", old)
		}
		if _, err := DecodePointer([]byte(text)); err == nil {
			t.Errorf("%q for %q is taken", changed, old)
		}
	}
}

func TestReserved(t *testing.T) {
	for path, want := range map[string]bool{
		"/.weir": true, ".weir/pointer": true, "/a/.weir/b": true, "/.WEIR/x": true,
		"/": false, "/.weird": false, "/x.weir": false, "/.well-known/x": false,
	} {
		if Reserved(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

func TestTag(t *testing.T) {
	for key, want := range map[string]string{
		"index.html": "path:/index.html", "a b/ü,c.txt": "path:/a%20b/%C3%BC%2Cc.txt", "what?#": "path:/what%3F%23",
	} {
		if got := Tag(key); got != want {
			t.Errorf("%q is %q, want %q", key, got, want)
		}
	}
	long := Tag(strings.Repeat("ü", 500))
	if len(long) > tagBytesMax || long == Tag(strings.Repeat("ü", 499)) {
		t.Errorf("%q", long)
	}
}

func FuzzManifest(f *testing.F) {
	text, err := sampleManifest().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1,"release":1,"entries":[],"more":{"a":[1]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := DecodeManifest(text)
		if err != nil {
			return
		}
		for i := range m.Entries {
			if m.Find(m.Entries[i].Key) != &m.Entries[i] {
				t.Fatalf("%q is not found", m.Entries[i].Key)
			}
		}
		once, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeManifest(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q becomes %q, %v", once, twice, err)
		}
	})
}

func FuzzPointer(f *testing.F) {
	text, err := samplePointer().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := DecodePointer(text)
		if err != nil {
			return
		}
		if p.CurrentRef() == nil {
			t.Fatal("there is no current release")
		}
		if _, err := p.Encode(); err != nil && len(text) < PointerBytesMax/8 {
			t.Fatal(err)
		}
	})
}
