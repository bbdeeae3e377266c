package simulate

import (
	"fmt"
	"strconv"
	"strings"
)

// tierBytesMax is the largest tier: two of them have a sum.
const tierBytesMax = 1 << 60

// Size is how large a tier is: a number of bytes, or a share of the footprint.
type Size struct {
	bytes int64
	share float64 // of the footprint, if not 0
}

// units goes from the longest suffix to the shortest; a size in a trace's
// literature is as often in powers of 1,000 as of 1,024.
var units = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size like 10GiB, 512MB, 4096 or 1%.
func (s *Size) UnmarshalText(text []byte) error {
	if number, found := strings.CutSuffix(string(text), "%"); found {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return fmt.Errorf("%q is not a share: write 0%% to 100%% of the footprint", text)
		}
		*s = Size{share: percent / 100}
		return nil
	}
	for _, u := range units {
		number, found := strings.CutSuffix(string(text), u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n*u.bytes <= tierBytesMax) {
			break
		}
		*s = Size{bytes: int64(n * u.bytes)}
		return nil
	}
	return fmt.Errorf("%q is not a size: write bytes, such as 10GiB or 512MB, or a share of the footprint, such as 1%%", text)
}

// of is the size in bytes for a trace's footprint.
func (s Size) of(footprintBytes int64) int64 {
	if s.share > 0 {
		return int64(s.share * float64(footprintBytes))
	}
	return s.bytes
}

// IsZero says that the tier is not there.
func (s Size) IsZero() bool { return s == Size{} }

// round writes a number of bytes for people, in at most 4 digits.
func round(bytes int64) string {
	unit := units[len(units)-1]
	for _, u := range units[:4] {
		if float64(bytes) >= u.bytes {
			unit = u
		}
	}
	if unit.suffix == "" {
		return strconv.FormatInt(bytes, 10) + "B"
	}
	return strconv.FormatFloat(float64(bytes)/unit.bytes, 'f', 1, 64) + unit.suffix
}
