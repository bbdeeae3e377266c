// Package release is how the releases of a site lie in its bucket, below the
// site's prefix. `weir deploy` writes them, and the origin reads them:
//
//	.weir/pointer            which release is current: the one object that changes
//	.weir/releases/SHA256    a manifest: what is at each path; named by its own content
//	.weir/objects/SHA256     the content of a file; named by it
//
// Whoever has read the pointer finds all of a release by it. Nothing that a
// pointer leads to is ever changed, so that one write of the pointer is the
// switch from one whole release to another.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// Dir is the folder that is kept for releases. No path with a segment of this
// name is served or deployed.
const Dir = ".weir"

// Keys of objects, below the site's prefix.
const (
	PointerKey   = Dir + "/pointer"
	ManifestsDir = Dir + "/releases/"
	ObjectsDir   = Dir + "/objects/"
	ProbeKey     = Dir + "/probe" // what `weir deploy` tries out conditional writes on
)

// Sum is the SHA-256 of an object's content.
type Sum [sha256.Size]byte

// SumOf hashes a content.
func SumOf(content []byte) Sum { return sha256.Sum256(content) }

// ParseSum reads 64 hexadecimal digits in lower case.
func ParseSum(text string) (s Sum, err error) {
	if len(text) != hex.EncodedLen(len(s)) || strings.ToLower(text) != text {
		return s, fmt.Errorf("%.80q is no SHA-256: want %d hexadecimal digits in lower case", text, hex.EncodedLen(len(s)))
	}
	if _, err = hex.Decode(s[:], []byte(text)); err != nil {
		return Sum{}, fmt.Errorf("%.80q is no SHA-256: %w", text, err)
	}
	return s, nil
}

// String is the hash in hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText is String.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSum.
func (s *Sum) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSum(string(text))
	return err
}

// ManifestKey and ObjectKey say where what has a hash lies.
func ManifestKey(s Sum) string { return ManifestsDir + s.String() }

// ObjectKey is where a file's content lies.
func ObjectKey(s Sum) string { return ObjectsDir + s.String() }

// Reserved says whether a path, or a key, has a segment that is kept for
// releases. The decoded path counts, in letters of any case, since some stores
// on file systems do not tell them apart.
func Reserved(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.EqualFold(segment, Dir) {
			return true
		}
	}
	return false
}

// tagBytesMax is the longest tag that spells its path.
const tagBytesMax = 200

// Tag is the surrogate key of all that an origin has answered from a path, be
// it that there is nothing: the one by which a deploy purges. It reaches what a
// purge by URL could only guess at: the path with any query, a folder's URL that
// its index document answers, the redirect to that, and every missing URL that
// shows the not-found document. key is the decoded path without its first slash.
func Tag(key string) string {
	escaped := strings.ReplaceAll((&url.URL{Path: "/" + key}).EscapedPath(), ",", "%2C")
	if tag := "path:" + escaped; len(tag) <= tagBytesMax {
		return tag
	}
	return "path-sha256:" + SumOf([]byte(key)).String()
}
