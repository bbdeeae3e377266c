// Package purge carries intents to forget from whoever asks to every node
// that stores.
//
// A purge is a Record in an ordered, durable log, which gives it a version:
// 1, 2, 3 …. Versions order purges; clocks never do. The life of one:
//
//	API        ParseRequest makes a Record of the body (request.go, target.go)
//	log        Append gives it a version, durably (package purge/natslog)
//	Follower   reads it on each node: Journal (durable), Index (in force), announcement
//	Index      answers the engine: is this object covered by anything newer than its stamp?
//	Nodes      on control, turns announcements into receipts: who applied it, how soon
//
// Every limit errs on one side: when the package must forget details, it keeps
// a purge that covers more. Purging too much costs a fetch; purging too little
// would serve what somebody took back.
package purge

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of one purge.
const (
	// TargetsMax is how many targets one purge may name.
	TargetsMax = 10_000
	// TargetBytesMax bounds one target, as received and in canonical form.
	TargetBytesMax = 8 << 10
	// TagBytesMax bounds one tag.
	TagBytesMax = 1 << 10
	// BodyBytesMax bounds an API body.
	BodyBytesMax = 4 << 20
	// RecordBytesMax bounds an encoded Record: a message of the log.
	RecordBytesMax = 4 << 20

	// IdempotencyKeyBytesMax bounds an idempotency key as clients give it.
	IdempotencyKeyBytesMax = 256

	siteBytesMax = 256
	whoBytesMax  = 256
	keyBytesMax  = 512 // of Record.Key
)

// Errors of a log's Append.
var (
	// ErrUnavailable says that the log cannot be reached, and that nothing
	// has been accepted.
	ErrUnavailable = errors.New("purge log is unavailable")
	// ErrUnconfirmed says that the log did not confirm in time. The purge may
	// have been accepted; asking for it again is safe.
	ErrUnconfirmed = errors.New("purge log did not confirm")
	// ErrRepeated says that the log has a record of the same Key, whose version
	// is given with it, and has not taken another.
	ErrRepeated = errors.New("purge log has a purge of this idempotency key")
	// ErrTooLarge says that a record's encoding exceeds RecordBytesMax.
	ErrTooLarge = errors.New("purge is too large")
)

// Scope says what the targets of a purge name.
type Scope uint8

// The scopes. The zero value is none of them.
const (
	// ScopeURL covers one path and query, all variants of it.
	ScopeURL Scope = iota + 1
	// ScopePrefix covers every path and query that begins with the target.
	ScopePrefix
	// ScopeHost covers all of one host.
	ScopeHost
	// ScopeTag covers what the origin tagged: Surrogate-Key or Cache-Tag.
	ScopeTag
	// ScopeAll covers every site, and has neither site nor targets.
	ScopeAll
	// ScopeSite covers the whole of one site and has no targets.
	ScopeSite
	// ScopeAsset covers every version of the assets that the targets are
	// versions of, save those targets themselves; see Assets.
	ScopeAsset
)

// scopeNames is in the order of the constants.
var scopeNames = [...]string{"", "url", "prefix", "host", "tag", "all", "site", "asset"}

// scopesText lists the scopes for messages.
const scopesText = "url, prefix, host, tag, asset, site or all"

// Scopes are all scopes, in the order in which people read them.
var Scopes = [...]Scope{ScopeURL, ScopePrefix, ScopeHost, ScopeTag, ScopeAsset, ScopeSite, ScopeAll}

// takesTargets says whether the scope names what it covers.
func (s Scope) takesTargets() bool { return s != ScopeAll && s != ScopeSite }

// hasPaths says whether the targets of the scope are paths or URLs.
func (s Scope) hasPaths() bool { return s == ScopeURL || s == ScopePrefix || s == ScopeAsset }

// String gives the scope's one name; "" for the zero value.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope(%d)", uint8(s))
}

// MarshalText gives the name; an unknown scope is an error.
func (s Scope) MarshalText() ([]byte, error) {
	if s == 0 || int(s) >= len(scopeNames) {
		return nil, fmt.Errorf("no such scope: %d", uint8(s))
	}
	return []byte(scopeNames[s]), nil
}

// UnmarshalText takes a name, in lower case.
func (s *Scope) UnmarshalText(text []byte) error {
	for i, name := range scopeNames {
		if i > 0 && name == string(text) {
			*s = Scope(i)
			return nil
		}
	}
	return fmt.Errorf("unknown scope %.32q: want %s", text, scopesText)
}

// Mode says what becomes of what a purge covers.
type Mode uint8

// The modes. The zero value is hard.
const (
	// ModeHard makes it as if it had never been stored.
	ModeHard Mode = iota
	// ModeSoft makes it stale: the origin may confirm it with a 304, and
	// stale rules may serve it meanwhile.
	ModeSoft
)

// String gives the mode's one name.
func (m Mode) String() string {
	switch m {
	case ModeHard:
		return "hard"
	case ModeSoft:
		return "soft"
	default:
		return fmt.Sprintf("mode(%d)", uint8(m))
	}
}

// MarshalText gives the name; an unknown mode is an error.
func (m Mode) MarshalText() ([]byte, error) {
	if m > ModeSoft {
		return nil, fmt.Errorf("no such mode: %d", uint8(m))
	}
	return []byte(m.String()), nil
}

// UnmarshalText takes a name, in lower case.
func (m *Mode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "hard":
		*m = ModeHard
	case "soft":
		*m = ModeSoft
	default:
		return fmt.Errorf("unknown mode %.32q: want hard or soft", text)
	}
	return nil
}

// Record is one purge.
type Record struct {
	// Version is the purge's sequence number in its log, from 1. The log
	// gives it; it is not part of the encoding.
	Version uint64
	// Site is the site that the purge is about; "" with scope all.
	Site string
	// Scope says what Targets name.
	Scope Scope
	// Targets are in canonical form. Of scopes url, prefix and asset:
	// "/path?query" for every host of the site, "//host/path?query" for one.
	Targets []string
	// Assets says what versions of an asset look like; of scope asset alone,
	// and nil in every other.
	Assets *Assets
	// Mode is hard or soft.
	Mode Mode
	// Who asked, for people who read the log: a token's name and an address.
	Who string
	// At is when control accepted it, by control's clock; for people only.
	At time.Time
	// Key is the idempotency key under which it was asked for, "" for none:
	// the token's name, a slash, and what the client gave. A log that has a
	// record of some key takes no other.
	Key string
}

// Distrust is the record that puts a hard purge at version over every site. A
// node writes it into its own journal when it cannot know what the log said up
// to there.
func Distrust(version uint64, why string) Record {
	return Record{Version: version, Scope: ScopeAll, Who: why, At: time.Now().UTC()}
}

// settle gives a record in the words of today. Scope all with a site is how the
// whole of one site was written before there was scope site.
func (r *Record) settle() {
	if r.Scope == ScopeAll && r.Site != "" {
		r.Scope = ScopeSite
	}
}

// cost is what r counts against limits in targets: a record without any still
// takes room.
func (r *Record) cost() int { return max(1, len(r.Targets)) }

// check says whether r may stand in a log or journal.
func (r *Record) check() error {
	switch {
	case r.Scope == 0 || int(r.Scope) >= len(scopeNames):
		return fieldError("scope", "missing")
	case r.Mode > ModeSoft:
		return fieldError("mode", "unknown")
	case r.Site == "" && r.Scope != ScopeAll:
		return fieldError("site", "missing")
	case r.Site != "" && r.Scope == ScopeAll:
		return fieldError("site", "given with scope all, which covers every site")
	case len(r.Site) > siteBytesMax || !utf8.ValidString(r.Site):
		return fieldError("site", "longer than %d bytes, or not UTF-8", siteBytesMax)
	case len(r.Who) > whoBytesMax || !utf8.ValidString(r.Who):
		return fieldError("who", "longer than %d bytes, or not UTF-8", whoBytesMax)
	case r.At.Year() < 0 || r.At.Year() > 9999:
		return fieldError("at", "outside the years 0 to 9999")
	case len(r.Key) > keyBytesMax || !utf8.ValidString(r.Key):
		return fieldError("key", "longer than %d bytes, or not UTF-8", keyBytesMax)
	case r.Scope.takesTargets() != (len(r.Targets) > 0):
		return fieldError("targets", "needed by every scope but site and all, which take none")
	case (r.Scope == ScopeAsset) != (r.Assets != nil):
		return fieldError("assets", "needed by scope asset, and by no other")
	case len(r.Targets) > TargetsMax:
		return fieldError("targets", "more than %d", TargetsMax)
	}
	if r.Assets != nil {
		if err := r.Assets.Check(); err != nil {
			return fieldError("assets", "%v", err)
		}
	}
	return r.checkTargets()
}

func (r *Record) checkTargets() error {
	paths := r.Scope.hasPaths()
	for i, t := range r.Targets {
		switch {
		case t == "":
			return targetError(i, "empty")
		case len(t) > TargetBytesMax:
			return targetError(i, "longer than %d bytes", TargetBytesMax)
		case !utf8.ValidString(t):
			return targetError(i, "not UTF-8")
		case paths && !canonical(t):
			return targetError(i, "not in canonical form")
		}
	}
	return nil
}

// canonical says whether t is "/path" or "//host/path".
func canonical(t string) bool {
	host, _ := splitTarget(t)
	return strings.HasPrefix(t, "/") && (host != "" || !strings.HasPrefix(t, "//"))
}

// splitTarget takes a canonical target of a scope with paths apart; host is
// "" where it covers every host.
func splitTarget(t string) (host, target string) {
	rest, whole := strings.CutPrefix(t, "//")
	if !whole {
		return "", t
	}
	slash := strings.IndexByte(rest, '/')
	if slash <= 0 {
		return "", t
	}
	return rest[:slash], rest[slash:]
}

// FieldError is a refusal that names the field of a body, or the parameter of
// a query, which has to change.
type FieldError struct {
	Field   string // "scope", "targets[3]"; "body" when it is no JSON object
	Problem string // what is wrong with it, and what would be right
}

// Error gives the field and the problem.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

func fieldError(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

func targetError(i int, format string, args ...any) error {
	return fieldError(fmt.Sprintf("targets[%d]", i), format, args...)
}
