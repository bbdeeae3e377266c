package release

import (
	"fmt"
	"testing"
)

func BenchmarkDecodeManifest(b *testing.B) {
	m := &Manifest{Release: 1}
	for i := range EntriesMax {
		m.Entries = append(m.Entries, Entry{Key: fmt.Sprintf("some/folder/of/a/site/%08d.html", i), Sum: SumOf([]byte{byte(i)}), Bytes: 1, Type: "text/html; charset=utf-8", Cache: "public, max-age=0, must-revalidate", Edge: "max-age=86400", Kind: KindPage})
	}
	text, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeManifest(text); err != nil {
			b.Fatal(err)
		}
	}
}
