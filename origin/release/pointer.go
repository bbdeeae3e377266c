package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of a pointer.
const (
	// PointerBytesMax bounds a pointer's text.
	PointerBytesMax = 256 << 10
	// KeepMax is how many releases may be kept.
	KeepMax = 100

	textBytesMax = 200
)

// Pointer is the one object that changes: which release is current, and what is
// left to do about it. Whoever writes it does so on the condition that it is
// what he has read (If-Match), so that of two switches at once one fails.
type Pointer struct {
	// Current is the number of the current release, one of Releases.
	Current uint64 `json:"current"`
	// Last is the highest number that a release has had.
	Last uint64 `json:"last"`
	// Releases are those that are kept, in the order in which they were current
	// last: the last one is the current.
	Releases []Ref `json:"releases"`
	// Pending is the purge that the last switch asks for, until it is done.
	Pending *Pending `json:"pending,omitempty"`
	// Sweep says that somebody deletes what no release names, until he has
	// ended or his time is over.
	Sweep *Sweep `json:"sweep,omitempty"`
}

// Ref is one release.
type Ref struct {
	Number uint64 `json:"number"`
	// Manifest is the hash of its manifest, as it was when it was last current.
	Manifest Sum `json:"manifest"`
	// At is when it was deployed, by the clock of who did; for people.
	At time.Time `json:"at"`
	// Previous is the release that was current before it was deployed; 0 for the
	// first.
	Previous uint64 `json:"previous,omitempty"`
	// Files and Bytes are its own, without what it keeps of earlier ones.
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	Note  string `json:"note,omitempty"`
}

// Pending is a purge that follows from two manifests. Whoever finds it can ask
// for it: what it covers is the difference, and the key makes it one purge
// however often it is asked for.
type Pending struct {
	Key  string `json:"key"`
	From *Sum   `json:"from,omitempty"` // none: there was no release before
	To   Sum    `json:"to"`
}

// Sweep is a lease.
type Sweep struct {
	By    string    `json:"by"`
	Until time.Time `json:"until"`
}

// Ref gives a kept release, or nil.
func (p *Pointer) Ref(number uint64) *Ref {
	if i := slices.IndexFunc(p.Releases, func(r Ref) bool { return r.Number == number }); i >= 0 {
		return &p.Releases[i]
	}
	return nil
}

// CurrentRef gives the current release.
func (p *Pointer) CurrentRef() *Ref { return p.Ref(p.Current) }

type pointerText struct {
	Format int `json:"format"`
	*Pointer
}

// Encode writes a pointer as JSON.
func (p *Pointer) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("encode pointer: %w", err)
	}
	text, err := json.MarshalIndent(pointerText{formatNumber, p}, "", " ")
	if err == nil && len(text) > PointerBytesMax {
		err = fmt.Errorf("its %d bytes are more than %d", len(text), PointerBytesMax)
	}
	if err != nil {
		return nil, fmt.Errorf("encode pointer: %w", err)
	}
	return append(text, '\n'), nil
}

// DecodePointer reads what Encode writes. It allows fields that it does not know.
func DecodePointer(text []byte) (*Pointer, error) {
	t := pointerText{Pointer: &Pointer{}}
	err := json.Unmarshal(text, &t)
	switch {
	case len(text) > PointerBytesMax:
		err = fmt.Errorf("its %d bytes are more than %d", len(text), PointerBytesMax)
	case err == nil && t.Format != formatNumber:
		err = fmt.Errorf("its format is %d, and this weir knows %d", t.Format, formatNumber)
	case err == nil:
		err = t.Pointer.check()
	}
	if err != nil {
		return nil, fmt.Errorf("decode pointer: %w", err)
	}
	return t.Pointer, nil
}

func (p *Pointer) check() error {
	switch {
	case len(p.Releases) == 0 || len(p.Releases) > KeepMax:
		return fmt.Errorf("%d releases: want 1 to %d", len(p.Releases), KeepMax)
	case p.Releases[len(p.Releases)-1].Number != p.Current:
		return fmt.Errorf("the current release %d is not the last in its list", p.Current)
	case p.Pending != nil && (p.Pending.Key == "" || len(p.Pending.Key) > textBytesMax):
		return errors.New("the pending purge has no key, or one that is too long")
	case p.Sweep != nil && (p.Sweep.By == "" || len(p.Sweep.By) > textBytesMax):
		return errors.New("the sweep is nobody's")
	}
	seen := map[uint64]bool{}
	for _, r := range p.Releases {
		if r.Number == 0 || r.Number > p.Last || seen[r.Number] {
			return fmt.Errorf("release %d is listed twice, or has no number up to %d", r.Number, p.Last)
		}
		seen[r.Number] = true
		if r.Files < 0 || r.Bytes < 0 || len(r.Note) > textBytesMax {
			return fmt.Errorf("release %d: negative size, or a note longer than %d bytes", r.Number, textBytesMax)
		}
	}
	return nil
}
