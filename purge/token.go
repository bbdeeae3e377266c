package purge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Token is who may call the API, and for what. What is kept of the secret is a
// hash.
type Token struct {
	// Name stands for the token in records and logs, without spaces.
	Name string
	// Hash is HashToken of the secret.
	Hash TokenHash
	// Sites are those that it may purge and read of; empty for every one, and
	// for what concerns them all.
	Sites []string
	// Scopes are those that it may purge by; empty for every one. Scope all
	// needs a token of every site besides.
	Scopes []Scope
	// Expires is when it ends; zero for never.
	Expires time.Time
}

// TokenHash is the SHA-256 of a token. One round without salt is enough for a
// secret that a machine drew from 2^130: a slow hash and a salt are for what
// people choose, where the few likely guesses have to be dear, each for itself.
type TokenHash [sha256.Size]byte

// HashToken hashes a token's secret.
func HashToken(secret string) TokenHash { return sha256.Sum256([]byte(secret)) }

// NewToken draws a secret: "weir_" and 26 letters and digits, 130 random bits.
func NewToken() string { return "weir_" + rand.Text() }

const tokenHashPrefix = "sha256:"

// String is the hash as configurations have it: "sha256:" and 64 hexadecimal
// digits.
func (h TokenHash) String() string { return tokenHashPrefix + hex.EncodeToString(h[:]) }

// ParseTokenHash reads what String writes.
func ParseTokenHash(text string) (h TokenHash, err error) {
	digits, found := strings.CutPrefix(text, tokenHashPrefix)
	if found = found && len(digits) == hex.EncodedLen(len(h)); found {
		_, err = hex.Decode(h[:], []byte(digits))
	}
	if !found || err != nil {
		return h, fmt.Errorf("a token's hash is %q and %d hexadecimal digits", tokenHashPrefix, 2*len(h))
	}
	return h, nil
}

// maySite says whether the token may have to do with a site; "" is all of them.
func (t *Token) maySite(site string) bool {
	return len(t.Sites) == 0 || site != "" && slices.Contains(t.Sites, site)
}

// mayScope says whether the token may purge by a scope.
func (t *Token) mayScope(s Scope) bool {
	return len(t.Scopes) == 0 || slices.Contains(t.Scopes, s)
}

// tokenKey is what the token of a call is in its context by.
type tokenKey struct{}

// PermitsSite says whether the token of the API's call that ctx belongs to may
// read of a site: for handlers that the API calls (APIOptions.Explain).
func PermitsSite(ctx context.Context, site string) bool {
	t, checked := ctx.Value(tokenKey{}).(*Token)
	return !checked || t.maySite(site)
}
