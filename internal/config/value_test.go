package config

import (
	"math"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for _, row := range []struct {
		text string
		want Bytes
		back string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1000", 1000, "1000"},
		{"1024", 1 << 10, "1KiB"},
		{"512B", 512, "512"},
		{"1536KiB", 1536 << 10, "1536KiB"},
		{"256MiB", 256 << 20, "256MiB"},
		{"1024 MiB", 1 << 30, "1GiB"},
		{"2TiB", 2 << 40, "2TiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		var b Bytes
		if problem, _ := b.parse(row.text); problem != "" || b != row.want || b.String() != row.back {
			t.Errorf("%q: %d %q %s", row.text, b, b, problem)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "256MB", "256M", "1e3", "0x10", "1_000", "9999999999TiB", "9223372036854775808"} {
		b := Bytes(7)
		if problem, fix := b.parse(text); problem == "" || fix == "" || b != 7 {
			t.Errorf("%q is a size: %d", text, b)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond,
	} {
		var d Duration
		if problem, _ := d.parse(text); problem != "" || d.Std() != want {
			t.Errorf("%q: %v %s", text, d, problem)
		}
	}
	for _, text := range []string{"", "10", "-1s", "1 hour", "1d", "10S"} {
		d := Duration(7)
		if problem, fix := d.parse(text); problem == "" || fix == "" || d != 7 {
			t.Errorf("%q is a duration: %v", text, d)
		}
	}
}

func TestSuggestion(t *testing.T) {
	known := []string{"name", "region", "http", "https", "public_http"}
	for name, want := range map[string]string{
		"regoin":      `did you mean "region"?`,
		"nmae":        `did you mean "name"?`,
		"htps":        `did you mean "https"?`,
		"public-http": `did you mean "public_http"?`,
		"colour":      "choose one of name, region, http, https, public_http",
	} {
		if got := suggestion(name, known); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
