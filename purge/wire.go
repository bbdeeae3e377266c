package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// A record on the wire and in the journal is one JSON object:
//
//	{"site":"docs","scope":"url","targets":["/a","//h.example/b?c"],
//	 "mode":"hard","who":"api 192.0.2.1","at":"2026-01-02T03:04:05.6Z"}
//
// targets is absent with scopes site and all, site is "" with scope all. Scope
// asset has "assets":{"fingerprint_min":4,"segments":["v#"],"params":["v"]}, a
// record asked for under an idempotency key "key":"token/what-the-client-gave".
// The version is not in it: it is the message's sequence number in the log, and
// the key in the journal. The decoder takes these fields only, each at most
// once, in this spelling. It reads scope all with a site as scope site.
type wireRecord struct {
	Site    string      `json:"site"`
	Scope   Scope       `json:"scope"`
	Targets []string    `json:"targets,omitempty"`
	Assets  *wireAssets `json:"assets,omitempty"`
	Mode    Mode        `json:"mode"`
	Who     string      `json:"who"`
	At      time.Time   `json:"at"`
	Key     string      `json:"key,omitempty"`
}

// EncodeRecord gives r's encoding. ErrTooLarge when it exceeds RecordBytesMax;
// a *FieldError when r is not one that DecodeRecord would take.
func EncodeRecord(r Record) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("encode purge: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	// Targets are full of & and =; escaping them for HTML would triple them.
	enc.SetEscapeHTML(false)
	err := enc.Encode(wireRecord{r.Site, r.Scope, r.Targets, (*wireAssets)(r.Assets), r.Mode, r.Who, r.At.UTC(), r.Key})
	if err != nil {
		return nil, fmt.Errorf("encode purge: %w", err)
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(body) > RecordBytesMax {
		return nil, fmt.Errorf("%w: %d bytes encoded, of at most %d", ErrTooLarge, len(body), RecordBytesMax)
	}
	return body, nil
}

// DecodeRecord reads what EncodeRecord wrote; version is what the log gave it.
func DecodeRecord(version uint64, body []byte) (Record, error) {
	r := Record{Version: version}
	if len(body) > RecordBytesMax {
		return r, fmt.Errorf("decode purge %d: %w: %d bytes", version, ErrTooLarge, len(body))
	}
	err := decodeObject(body, func(name string, dec *json.Decoder) (err error) {
		switch name {
		case "assets":
			r.Assets, err = decodeAssets(dec)
			return err
		case "key":
			return decodeString(name, dec, &r.Key)
		case "who":
			return decodeString(name, dec, &r.Who)
		case "at":
			return decodeText(name, dec, &r.At)
		default:
			return decodePurgeField(name, dec, &r)
		}
	})
	if err == nil {
		r.settle()
		err = r.check()
	}
	if err != nil {
		return r, fmt.Errorf("decode purge %d: %w", version, err)
	}
	return r, nil
}

// decodePurgeField reads a field that API bodies and records have in common.
func decodePurgeField(name string, dec *json.Decoder, r *Record) error {
	switch name {
	case "site":
		return decodeString(name, dec, &r.Site)
	case "scope":
		return decodeScope(dec, &r.Scope)
	case "mode":
		return decodeText(name, dec, &r.Mode)
	case "targets":
		return decodeStrings(name, TargetsMax, dec, &r.Targets)
	default:
		return fieldError(clip(name), "unknown field")
	}
}

// decodeScope reads one scope. Who sends several learns what to do instead.
func decodeScope(dec *json.Decoder, into *Scope) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	text, is := t.(string)
	if !is {
		return fieldError("scope", "must be one of %s: a purge has one scope, so send a call for each", scopesText)
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		return fieldError("scope", "%v", err)
	}
	return nil
}

// Announcement is what a node tells control: it has applied every purge up to
// a version of the log that Epoch names.
type Announcement struct {
	Node    string `json:"node"`
	Applied uint64 `json:"applied"`
	Epoch   string `json:"epoch"`
}

// announcementBytesMax bounds an encoded Announcement.
const announcementBytesMax = 4 << 10

// EncodeAnnouncement gives a's encoding, one JSON object.
func EncodeAnnouncement(a Announcement) ([]byte, error) { return json.Marshal(a) }

// DecodeAnnouncement reads what EncodeAnnouncement wrote.
func DecodeAnnouncement(body []byte) (Announcement, error) {
	var a Announcement
	if len(body) > announcementBytesMax {
		return a, fmt.Errorf("decode announcement: %d bytes, of at most %d", len(body), announcementBytesMax)
	}
	err := decodeObject(body, func(name string, dec *json.Decoder) error {
		switch name {
		case "node":
			return decodeString(name, dec, &a.Node)
		case "epoch":
			return decodeString(name, dec, &a.Epoch)
		case "applied":
			if err := dec.Decode(&a.Applied); err != nil {
				return fieldError(name, "must be a version: a whole number")
			}
			return nil
		default:
			return fieldError(clip(name), "unknown field")
		}
	})
	if err == nil && a.Node == "" {
		err = fieldError("node", "missing")
	}
	if err != nil {
		return a, fmt.Errorf("decode announcement: %w", err)
	}
	return a, nil
}

// decodeObject reads body, one JSON object, and calls field with the decoder
// standing before each value. encoding/json's own struct decoding would accept
// names in another case, names given twice and text after the end: each a way
// to purge something else than was read by whoever wrote it.
func decodeObject(body []byte, field func(name string, dec *json.Decoder) error) error {
	if !utf8.Valid(body) {
		return fieldError("body", "not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fieldError("body", "must be a JSON object")
	}
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return malformed(err)
		}
		name, _ := t.(string)
		if seen[name] {
			return fieldError(clip(name), "given twice")
		}
		seen[name] = true
		if err := field(name, dec); err != nil {
			return malformed(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return malformed(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fieldError("body", "has more after the JSON object")
	}
	return nil
}

// malformed keeps a FieldError and turns what the JSON decoder said into one.
func malformed(err error) error {
	var refused *FieldError
	if errors.As(err, &refused) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fieldError("body", "not JSON: %v", err)
}

func decodeString(name string, dec *json.Decoder, into *string) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	s, is := t.(string)
	if !is {
		return fieldError(name, "must be a string")
	}
	*into = s
	return nil
}

func decodeText(name string, dec *json.Decoder, into interface{ UnmarshalText([]byte) error }) error {
	var s string
	if err := decodeString(name, dec, &s); err != nil {
		return err
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		return fieldError(name, "%v", err)
	}
	return nil
}

// decodeStrings reads an array of strings and stops at the first one too many,
// so that a body of four million empty strings costs no more than it should.
func decodeStrings(name string, most int, dec *json.Decoder, into *[]string) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return fieldError(name, "must be an array of strings")
	}
	for i := 0; dec.More(); i++ {
		if i == most {
			return fieldError(name, "more than %d", most)
		}
		var s string
		if err := decodeString(fmt.Sprintf("%s[%d]", name, i), dec, &s); err != nil {
			return err
		}
		*into = append(*into, s)
	}
	_, err = dec.Token()
	return err
}

// clip keeps a name that came from outside short enough to be repeated.
func clip(name string) string {
	const bytesMax = 64
	if len(name) <= bytesMax {
		return name
	}
	return name[:bytesMax] + "…"
}
