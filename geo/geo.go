// Package geo answers which PoP is best for a client: the nearest healthy one.
//
// A DB says where an address is (MaxMind's format), Nearest orders PoPs by
// distance, Health knows which of them answer, and Router puts the three
// together behind HTTP: it redirects a client to its PoP, and explains its
// choice on request.
package geo

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"

	"github.com/oschwald/geoip2-golang/v2"
)

// databaseBytesMax bounds what Open reads; city databases of the whole world
// have about 130 MB.
const databaseBytesMax = 1 << 30

// earthRadiusKm is the mean radius of the Earth (IUGG's R1), in kilometres.
const earthRadiusKm = 6371.0088

// Location is a point on Earth, as exact as the database has it.
type Location struct {
	// Lat is the latitude in degrees, -90 to 90, north positive.
	Lat float64 `json:"lat"`
	// Lon is the longitude in degrees, -180 to 180, east positive.
	Lon float64 `json:"lon"`
	// Country is the ISO 3166-1 alpha-2 code, or empty where it is not known.
	Country string `json:"country,omitempty"`
	// City is the city's English name, or empty where it is not known.
	City string `json:"city,omitempty"`
}

// DB finds the location of an address. Its methods may be called from many
// goroutines; Close ends it.
type DB struct {
	reader *geoip2.Reader
}

// Open reads the City database in the file. The file may be replaced
// afterwards: the DB keeps a copy of its own in memory.
func Open(path string) (*DB, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("geo: open database: %w", err)
	}
	if info.Size() > databaseBytesMax {
		return nil, fmt.Errorf("geo: open database %s: %d bytes, more than %d", path, info.Size(), databaseBytesMax)
	}
	database, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("geo: open database: %w", err)
	}
	db, err := OpenBytes(database)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	return db, nil
}

// OpenBytes takes the bytes of a City database, which must not change as long
// as the DB is used.
func OpenBytes(database []byte) (*DB, error) {
	reader, err := geoip2.OpenBytes(database)
	if err != nil {
		return nil, fmt.Errorf("geo: open database: %w", err)
	}
	// The reader refuses look-ups that the type of database does not answer;
	// better now than at the first client.
	if _, err := reader.City(netip.IPv4Unspecified()); err != nil {
		_ = reader.Close()
		return nil, fmt.Errorf("geo: open database: %w", err)
	}
	return &DB{reader: reader}, nil
}

// Close gives the database's memory back. No Lookup may follow.
func (db *DB) Close() error { return db.reader.Close() }

// Lookup says where the address is; false where the database has no position
// for it. An IPv4 address mapped into IPv6 counts as the IPv4 address, and a
// zone is ignored.
func (db *DB) Lookup(addr netip.Addr) (Location, bool) {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return Location{}, false
	}
	city, err := db.reader.City(addr)
	if err != nil || !city.Location.HasCoordinates() {
		return Location{}, false
	}
	l := Location{
		Lat:     *city.Location.Latitude,
		Lon:     *city.Location.Longitude,
		Country: city.Country.ISOCode,
		City:    city.City.Names.English,
	}
	return l, l.isOnEarth()
}

// isOnEarth is false for NaN, too.
func (l Location) isOnEarth() bool {
	return math.Abs(l.Lat) <= 90 && math.Abs(l.Lon) <= 180
}

// KmTo gives the great-circle distance in kilometres, by the haversine formula
// on a sphere: within 0.6 % of the ellipsoid's.
func (l Location) KmTo(m Location) float64 {
	lat1, lat2 := radians(l.Lat), radians(m.Lat)
	sinLat := math.Sin((lat2 - lat1) / 2)
	sinLon := math.Sin(radians(m.Lon-l.Lon) / 2)
	h := sinLat*sinLat + math.Cos(lat1)*math.Cos(lat2)*sinLon*sinLon
	// Rounding may leave antipodes a hair above 1.
	return 2 * earthRadiusKm * math.Asin(math.Sqrt(min(1, h)))
}

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }

// PoP is a place that clients can be sent to.
type PoP struct {
	// Name is the PoP's unique name.
	Name string
	// Location is where it stands.
	Location Location
	// HTTP is its base URL in clear, like "http://192.0.2.1:8080"; may be empty.
	HTTP string
	// HTTPS is its base URL over TLS; may be empty if HTTP is not.
	HTTPS string
	// HealthURL answers GET with 200 while the PoP can serve, like
	// "http://192.0.2.1:9090/healthz". An empty one is never polled, and the
	// PoP counts as healthy.
	HealthURL string
}

// Nearest gives the PoPs in the order of their distance from a location,
// nearest first. PoPs at the same distance keep the order that they came in.
func Nearest(from Location, pops []PoP) []PoP {
	sorted := slices.Clone(pops)
	slices.SortStableFunc(sorted, func(a, b PoP) int {
		return cmp.Compare(from.KmTo(a.Location), from.KmTo(b.Location))
	})
	return sorted
}
