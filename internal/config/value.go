package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes. In a file it is a plain number of bytes or a whole
// number with one of the units B, KiB, MiB, GiB and TiB, each 1,024 of the one
// before. Units of 1,000 (MB, GB) are refused rather than guessed at.
type Bytes int64

// binaryUnits goes from the largest to the smallest; "" is plain bytes.
var binaryUnits = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// String writes the size so that a file can hold it, in the largest unit that
// leaves a whole number.
func (b Bytes) String() string {
	for _, u := range binaryUnits {
		if b != 0 && int64(b)%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is String, for YAML and JSON.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what a file may hold, for flags.
func (b *Bytes) UnmarshalText(text []byte) error {
	if problem, fix := b.parse(string(text)); problem != "" {
		return fmt.Errorf("%s: %s", problem, fix)
	}
	return nil
}

// parse sets b from the text of a file, or says what is wrong and what to do.
func (b *Bytes) parse(text string) (problem, fix string) {
	for _, u := range binaryUnits {
		number, found := strings.CutSuffix(text, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 {
			break
		}
		if n > math.MaxInt64/u.bytes {
			return fmt.Sprintf("%q is too large", text), "write at most 8388607TiB"
		}
		*b = Bytes(n * u.bytes)
		return "", ""
	}
	return fmt.Sprintf("%q is not a size", text), "write a whole number of B, KiB, MiB, GiB or TiB, such as 256MiB"
}

// Duration is a span of time. In a file it is written as Go writes it: 10s,
// 1m30s, 24h. It is never negative.
type Duration time.Duration

// Std is the duration as package time has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes the duration so that a file can hold it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText is String, for YAML and JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// parse sets d from the text of a file, or says what is wrong and what to do.
func (d *Duration) parse(text string) (problem, fix string) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return fmt.Sprintf("%q has no unit", text), fmt.Sprintf("write %ds for seconds, or use ms, m or h", n)
	}
	span, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Sprintf("%q is not a duration", text), "write a number with ms, s, m or h, such as 30s or 1h30m"
	}
	if span < 0 {
		return fmt.Sprintf("%q is negative", text), "write 0s or more"
	}
	*d = Duration(span)
	return "", ""
}
