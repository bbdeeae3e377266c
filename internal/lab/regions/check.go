package regions

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
)

// Bounds of what a table may say.
const (
	regionsMax = 64
	// rttMillisMax is above any path on Earth, two satellite hops included.
	rttMillisMax = 2000
	// The two directions of a pair are measured apart; more difference than
	// this, in milliseconds or as a share, is a slip of the pen.
	asymmetryMillisMax = 10
	asymmetryShareMax  = 0.1
	// clientOctetMin keeps client networks away from 127.0.0.1 and from the
	// addresses that systems put near it.
	clientOctetMin = 101
)

var (
	nameForm    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	countryForm = regexp.MustCompile(`^[A-Z]{2}$`)
)

// check finds the first thing that is wrong with a table.
func (f file) check() error {
	switch {
	case len(f.Regions) == 0:
		return errors.New("no regions")
	case len(f.Regions) > regionsMax:
		return fmt.Errorf("%d regions, more than %d", len(f.Regions), regionsMax)
	case !(f.SameRegionRTTMillis >= 0 && f.SameRegionRTTMillis <= rttMillisMax):
		return fmt.Errorf("same_region_rtt_ms: %v is not between 0 and %d", f.SameRegionRTTMillis, rttMillisMax)
	}
	names := make(map[string]bool, len(f.Regions))
	for i, r := range f.Regions {
		if err := r.check(); err != nil {
			return fmt.Errorf("regions[%d] %q: %w", i, r.Name, err)
		}
		if names[r.Name] {
			return fmt.Errorf("regions[%d]: name %q appears twice", i, r.Name)
		}
		names[r.Name] = true
		for _, other := range f.Regions[:i] {
			if other.Clients.Overlaps(r.Clients) {
				return fmt.Errorf("regions[%d] %q: clients %s belongs to %q too", i, r.Name, r.Clients, other.Name)
			}
		}
	}
	return f.checkRTTs(names)
}

// check looks at one region by itself.
func (r Region) check() error {
	switch {
	case !nameForm.MatchString(r.Name):
		return errors.New("name: want lower-case letters, digits and hyphens, 31 at most")
	case r.City == "":
		return errors.New("city: missing")
	case !countryForm.MatchString(r.Country):
		return fmt.Errorf("country: %q is not a two-letter code", r.Country)
	case !(math.Abs(r.Lat) <= 90):
		return fmt.Errorf("lat: %v is not between -90 and 90", r.Lat)
	case !(math.Abs(r.Lon) <= 180):
		return fmt.Errorf("lon: %v is not between -180 and 180", r.Lon)
	case r.PublishedAs == "":
		return errors.New("published_as: missing")
	case !isClientNetwork(r.Clients):
		return fmt.Errorf("clients: %s is not 127.n.0.0/16 with n from %d", r.Clients, clientOctetMin)
	}
	for i, p := range r.Documentation {
		if !p.IsValid() || p != p.Masked() {
			return fmt.Errorf("documentation[%d]: %s is not a network", i, p)
		}
	}
	return nil
}

func isClientNetwork(p netip.Prefix) bool {
	if !p.Addr().Is4() || p.Bits() != 16 || p != p.Masked() {
		return false
	}
	octets := p.Addr().As4()
	return octets[0] == 127 && octets[1] >= clientOctetMin
}

// checkRTTs wants each ordered pair of two regions once, and nothing else.
func (f file) checkRTTs(names map[string]bool) error {
	for from, row := range f.RTTMillis {
		if !names[from] {
			return fmt.Errorf("rtt_ms.%s: no such region", from)
		}
		for to := range row {
			if !names[to] {
				return fmt.Errorf("rtt_ms.%s.%s: no such region", from, to)
			}
		}
		if _, ok := row[from]; ok {
			return fmt.Errorf("rtt_ms.%s.%s: within a region, same_region_rtt_ms says it", from, from)
		}
	}
	for _, a := range f.Regions {
		for _, b := range f.Regions {
			if a.Name == b.Name {
				continue
			}
			if err := f.checkPair(a.Name, b.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f file) checkPair(a, b string) error {
	there, ok := f.RTTMillis[a][b]
	back := f.RTTMillis[b][a]
	switch {
	case !ok:
		return fmt.Errorf("rtt_ms.%s.%s: missing", a, b)
	case !(there > 0 && there <= rttMillisMax):
		return fmt.Errorf("rtt_ms.%s.%s: %v is not between 0 and %d", a, b, there, rttMillisMax)
	case back > 0 && math.Abs(there-back) > max(asymmetryMillisMax, asymmetryShareMax*there):
		return fmt.Errorf("rtt_ms.%s.%s: %v there but %v back", a, b, there, back)
	}
	return nil
}
