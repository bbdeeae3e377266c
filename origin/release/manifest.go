package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Limits of a manifest.
const (
	// EntriesMax bounds the paths of a release, kept ones included. A node has
	// about 120 bytes and the path in memory for each.
	EntriesMax = 250_000
	// ManifestBytesMax bounds a manifest's text.
	ManifestBytesMax = 128 << 20

	formatNumber  = 1
	keyBytesMax   = 1024
	fieldBytesMax = 512
	fieldsMax     = 4096 // distinct values of types and lifetimes in a manifest
)

// Kind says what a file is to a deploy.
type Kind uint8

// The kinds. The zero value is file.
const (
	KindFile  Kind = iota // any other: its content may change under its name
	KindPage              // HTML
	KindAsset             // its name has a fingerprint: its content never changes
)

var kindNames = [...]string{"file", "page", "asset"}

// String gives the kind's one name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText gives the name.
func (k Kind) MarshalText() ([]byte, error) {
	if int(k) >= len(kindNames) {
		return nil, fmt.Errorf("no such kind: %d", uint8(k))
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText takes a name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown kind %.32q", text)
}

// Entry is what is at one path.
type Entry struct {
	// Key is the decoded path without its first slash.
	Key   string `json:"key"`
	Sum   Sum    `json:"sha256"`
	Bytes int64  `json:"bytes"`
	Type  string `json:"type"`
	// Cache and Edge are the fields Cache-Control, for browsers, and
	// Surrogate-Control, for weir; Edge "" for none.
	Cache string `json:"cache_control"`
	Edge  string `json:"surrogate_control,omitempty"`
	Kind  Kind   `json:"kind"`
	// Kept says that the path is an earlier release's: an asset that pages of
	// that release name, which clients may still have.
	Kept bool `json:"kept,omitempty"`
}

// ETag is the entity tag of an entry's content, with its quotes.
func (e *Entry) ETag() string { return `"` + e.Sum.String()[:32] + `"` }

// Same says whether clients get the same of both.
func (e *Entry) Same(other *Entry) bool {
	return e.Sum == other.Sum && e.Type == other.Type && e.Cache == other.Cache && e.Edge == other.Edge
}

// Manifest says what is at each path while a release is current.
type Manifest struct {
	// Release is the number of the release.
	Release uint64
	// Entries are in order of their keys.
	Entries []Entry
}

// Find gives the entry of a key, or nil.
func (m *Manifest) Find(key string) *Entry {
	i := sort.Search(len(m.Entries), func(i int) bool { return m.Entries[i].Key >= key })
	if i < len(m.Entries) && m.Entries[i].Key == key {
		return &m.Entries[i]
	}
	return nil
}

// Encode writes a manifest, one entry a line:
//
//	{"format":1,"release":7,"entries":[
//	{"key":"index.html","sha256":"…","bytes":512,"type":"text/html; charset=utf-8","cache_control":"…","kind":"page"},
//	…
//	]}
func (m *Manifest) Encode() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"format\":%d,\"release\":%d,\"entries\":[\n", formatNumber, m.Release)
	for i := range m.Entries {
		if i > 0 {
			b.WriteString(",\n")
		}
		line, err := json.Marshal(&m.Entries[i])
		if err != nil {
			return nil, fmt.Errorf("encode manifest: %w", err)
		}
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if b.Len() > ManifestBytesMax {
		return nil, fmt.Errorf("encode manifest: its %d bytes are more than %d", b.Len(), ManifestBytesMax)
	}
	return b.Bytes(), nil
}

// DecodeManifest reads what Encode writes, entry by entry. It allows fields that
// it does not know.
func DecodeManifest(text []byte) (*Manifest, error) {
	if len(text) > ManifestBytesMax {
		return nil, fmt.Errorf("decode manifest: its %d bytes are more than %d", len(text), ManifestBytesMax)
	}
	m, format := &Manifest{}, 0
	words := map[string]string{}
	err := decodeObject(text, func(name string, dec *json.Decoder) error {
		switch name {
		case "format":
			return dec.Decode(&format)
		case "release":
			return dec.Decode(&m.Release)
		case "entries":
			return m.decodeEntries(dec, words)
		}
		return dec.Decode(new(json.RawMessage))
	})
	if err == nil && format != formatNumber {
		err = fmt.Errorf("its format is %d, and this weir knows %d", format, formatNumber)
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	return m, nil
}

// decodeObject calls each for the value of every name of the one object in text.
func decodeObject(text []byte, each func(name string, dec *json.Decoder) error) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := each(name, dec); err != nil {
			return fmt.Errorf("%.32s: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("something follows the object")
	}
	return nil
}

func (m *Manifest) decodeEntries(dec *json.Decoder, words map[string]string) error {
	if m.Entries != nil {
		return errors.New("given twice")
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not an array")
	}
	m.Entries = []Entry{}
	for dec.More() {
		if len(m.Entries) == EntriesMax {
			return fmt.Errorf("more than %d", EntriesMax)
		}
		var e Entry
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("entry %d: %w", len(m.Entries), err)
		}
		// Thousands of entries share a few values.
		for _, field := range []*string{&e.Type, &e.Cache, &e.Edge} {
			if known, ok := words[*field]; ok {
				*field = known
			} else if len(words) < fieldsMax {
				words[*field] = *field
			}
		}
		m.Entries = append(m.Entries, e)
	}
	_, err := dec.Token()
	return err
}

// check says what is wrong with a manifest: with it, each key is found.
func (m *Manifest) check() error {
	if len(m.Entries) > EntriesMax {
		return fmt.Errorf("%d paths are more than %d", len(m.Entries), EntriesMax)
	}
	if m.Release == 0 {
		return errors.New("it has no release number")
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		if err := e.check(); err != nil {
			return fmt.Errorf("entry %d (%.100q): %w", i, e.Key, err)
		}
		if i > 0 && m.Entries[i-1].Key >= e.Key {
			return fmt.Errorf("entry %d (%.100q): not in order", i, e.Key)
		}
	}
	return nil
}

func (e *Entry) check() error {
	switch {
	case e.Key == "" || len(e.Key) > keyBytesMax || !utf8.ValidString(e.Key):
		return fmt.Errorf("its key is empty, longer than %d bytes or not UTF-8", keyBytesMax)
	case strings.HasPrefix(e.Key, "/") || Reserved(e.Key):
		return errors.New("its key starts with a slash or has a reserved segment")
	case e.Bytes < 0:
		return errors.New("its size is negative")
	case e.Type == "" || e.Cache == "":
		return errors.New("type or cache_control is missing")
	case int(e.Kind) >= len(kindNames):
		return errors.New("unknown kind")
	}
	for _, value := range []string{e.Type, e.Cache, e.Edge} {
		if len(value) > fieldBytesMax || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("%.100q is no value of a field", value)
		}
	}
	return nil
}
