package rfc9110

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

// body writes the multipart as whoever answers does.
func (m *Multipart) body(content string) []byte {
	var b []byte
	for i, r := range m.Parts() {
		b = m.AppendPart(b, i)
		b = append(b, content[r.Start:r.end()]...)
	}
	return m.AppendEnd(b)
}

func TestMultipart(t *testing.T) {
	m := NewMultipart("abc", "text/plain", 10, []Range{{0, 2}, {8, 2}})
	want := "--abc\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01" +
		"\r\n--abc\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--abc--\r\n"
	if got := string(m.body("0123456789")); got != want {
		t.Errorf("14.6: got %q, want %q", got, want)
	}
	if got := m.ContentType(); got != "multipart/byteranges; boundary=abc" {
		t.Errorf("14.6: got %q", got)
	}
	for _, contentType := range []string{"", "text/plain\r\nX: y", "text/\x00"} {
		m := NewMultipart("abc", contentType, 10, []Range{{0, 2}})
		if got := string(m.body("0123456789")); strings.Contains(got, "Content-Type") {
			t.Errorf("14.6 without Content-Type: got %q", got)
		}
	}
}

func TestBoundary(t *testing.T) {
	if got := Boundary(0x0123456789abcdef, 1); got != "0123456789abcdef0000000000000001" {
		t.Errorf("got %q", got)
	}
}

// What mime/multipart reads is what was asked for, and Length is exact.
func FuzzMultipart(f *testing.F) {
	f.Add("bytes=0-1,4-5", "0123456789", "text/plain")
	f.Add("bytes=-1,0-0", "\r\n--0\r\n", "")
	f.Fuzz(func(t *testing.T, field, content, contentType string) {
		ranges, verdict := ParseRange(field, int64(len(content)))
		if verdict != Satisfiable {
			return
		}
		m := NewMultipart(Boundary(1, 2), contentType, int64(len(content)), ranges)
		body := m.body(content)
		if int64(len(body)) != m.Length() {
			t.Fatalf("%d bytes, and Length says %d", len(body), m.Length())
		}
		if strings.Contains(content, Boundary(1, 2)) {
			return
		}
		_, params, err := mime.ParseMediaType(m.ContentType())
		if err != nil {
			t.Fatal(err)
		}
		reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for _, r := range ranges {
			part, err := reader.NextRawPart()
			if err != nil {
				t.Skip() // a Content-Type that net/textproto does not take
			}
			got, size, ok := ParseContentRange(part.Header.Get("Content-Range"))
			if !ok || got != r || size != int64(len(content)) {
				t.Fatalf("%v is described as %v of %d", r, got, size)
			}
			if text, _ := io.ReadAll(part); string(text) != content[r.Start:r.end()] {
				t.Fatalf("%v is %q", r, text)
			}
		}
		if _, err := reader.NextPart(); err != io.EOF {
			t.Fatalf("after the last part: %v", err)
		}
	})
}
