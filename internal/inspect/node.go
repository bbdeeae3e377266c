package inspect

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"weir/storage"
)

// Store is one tier of a node; *memory.Store and *disk.Store are.
type Store interface {
	storage.Store
	// Walk gives keys and where to go on; see the stores.
	Walk(after string, keysMax int) (keys []storage.Key, next string, err error)
	// Look is Get that is no use of the object.
	Look(k storage.Key) (storage.Object, error)
}

// Node answers for one node. A tier that it does not have is nil.
type Node struct {
	Memory, Disk Store
	// Disks says how the directories are. Nil: there are none.
	Disks func() []DiskStat
}

// Answerer gives the function by which the node answers control's questions. An
// answer to verify is given no faster than the rate that is asked for, and ends
// with ctx.
func (n *Node) Answerer(ctx context.Context) func(asked []byte) []byte {
	return func(asked []byte) []byte {
		r, err := n.answer(ctx, asked)
		if err != nil {
			r = reply{Error: err.Error(), NotFound: errors.Is(err, storage.ErrNotFound)}
		}
		text, err := json.Marshal(r)
		if err != nil {
			return nil // texts and numbers always have a JSON form
		}
		return text
	}
}

func (n *Node) answer(ctx context.Context, asked []byte) (r reply, err error) {
	var q question
	if err := json.Unmarshal(asked, &q); err != nil {
		return r, fmt.Errorf("read question: %w", err)
	}
	switch q.Op {
	case opList:
		r.Page, err = n.list(q.After, min(max(q.Limit, 1), pageObjectsMax))
	case opStat:
		r.Stat = n.stat()
	case opVerify:
		r.Verified, err = n.verify(ctx, q.After, min(max(cmp.Or(q.Rate, RateDefault), rateMin), RateMax))
	case opMeta:
		r.Object, err = n.meta(q.Key)
	case opRead:
		r.Body, err = n.read(&q)
	default:
		err = fmt.Errorf("%.32q is no question: this node is of another version", q.Op)
	}
	return r, err
}

// list gives a page: what is on disk, then what is in memory alone.
func (n *Node) list(after string, limit int) (*Page, error) {
	tier, at, err := n.placeOf(after)
	if err != nil {
		return nil, err
	}
	p := &Page{Objects: []Object{}}
	for end, bytes := time.Now().Add(sliceMax), 0; len(p.Objects) < limit && bytes < pageBytesMax && time.Now().Before(end); {
		store := n.Disk
		if tier == storage.TierMemory {
			store = n.Memory
		}
		var keys []storage.Key
		if store != nil {
			before := at
			if keys, at, err = store.Walk(at, min(walkKeys, limit-len(p.Objects))); err != nil {
				return nil, err
			}
			if len(p.Objects) > 0 && len(p.Objects)+len(keys) > limit {
				at = before // these come with the next page
				break
			}
		}
		for _, k := range keys {
			if o := n.object(k, tier); o != nil {
				p.Objects = append(p.Objects, *o)
				bytes += len(o.Target) + len(o.Variant) + len(o.Host) + objectBytes
			}
		}
		switch {
		case store != nil && at != "":
		case tier == storage.TierDisk:
			tier, at = storage.TierMemory, ""
		default:
			return p, nil
		}
	}
	p.Next = tier.String() + ":" + at
	return p, nil
}

// objectBytes is about what an object takes in an answer besides its names.
const objectBytes = 200

// placeOf reads where a list goes on.
func (n *Node) placeOf(after string) (tier storage.Tier, at string, err error) {
	name, at, _ := strings.Cut(after, ":")
	switch name {
	case "", storage.TierDisk.String():
		return storage.TierDisk, at, nil
	case storage.TierMemory.String():
		return storage.TierMemory, at, nil
	}
	return 0, "", fmt.Errorf("after: %.64q is no place to go on at", after)
}

// object says what is stored under a key that tier has given; nil if that has gone,
// or is listed with the tier below.
func (n *Node) object(k storage.Key, tier storage.Tier) *Object {
	copies := n.copies(k)
	if len(copies) == 0 || copies[len(copies)-1].Tier != tier {
		return nil
	}
	return describe(k, copies)
}

func (n *Node) copies(k storage.Key) (copies []storage.Copy) {
	for _, s := range []Store{n.Memory, n.Disk} {
		if s != nil {
			copies = append(copies, s.Peek(k)...)
		}
	}
	return copies
}

func describe(k storage.Key, copies []storage.Copy) *Object {
	tiers := make([]storage.Tier, 0, len(copies))
	for _, c := range copies {
		tiers = append(tiers, c.Tier)
	}
	return Describe(k, copies[0].Meta, tiers...)
}

// Describe says what an object is of which some tiers have this meta.
func Describe(k storage.Key, m *storage.Meta, tiers ...storage.Tier) *Object {
	o := &Object{
		Key: k.String(), Site: m.Site, Host: m.Host, Target: m.Target, Variant: m.Variant, Status: m.Status,
		Bytes: m.BodyBytes, Stamp: m.Stamp, AgeSeconds: ageSeconds(m),
	}
	for _, tier := range tiers {
		o.Tiers = append(o.Tiers, tier.String())
	}
	return o
}

// ageSeconds is how old an object is now; nil for what has no age by itself.
func ageSeconds(m *storage.Meta) *float64 {
	if m.Stored.ResponseTime.IsZero() {
		return nil
	}
	age := (m.Stored.InitialAge + time.Since(m.Stored.ResponseTime)).Seconds()
	return &age
}

func (n *Node) stat() *Stat {
	s := &Stat{Tiers: []TierStat{}, Disks: []DiskStat{}}
	for i, store := range []Store{n.Memory, n.Disk} {
		if store == nil {
			continue
		}
		has := store.Stats()
		s.Tiers = append(s.Tiers, TierStat{
			Tier:    []storage.Tier{storage.TierMemory, storage.TierDisk}[i].String(),
			Objects: has.Objects, Bytes: has.Bytes, BudgetBytes: has.BudgetBytes, Evictions: has.Evictions, Corrupt: has.Corrupt,
		})
	}
	if n.Disks != nil {
		s.Disks = n.Disks()
	}
	return s
}

// ParseKey reads a key as lists have it.
func ParseKey(text string) (storage.Key, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(storage.Key{}) {
		return storage.Key{}, fmt.Errorf("%.64q is no key: 32 hexadecimal digits", text)
	}
	return storage.Key(b), nil
}

func (n *Node) meta(key string) (*Object, error) {
	k, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	copies := n.copies(k)
	if len(copies) == 0 {
		return nil, storage.ErrNotFound
	}
	o := describe(k, copies)
	o.BodyID, o.Header = copies[0].Meta.BodyID, string(copies[0].Meta.Header)
	return o, nil
}

// errChanged says that the body is another one by now.
var errChanged = errors.New("the object has changed meanwhile")

// read gives a piece of a body, verified.
func (n *Node) read(q *question) ([]byte, error) {
	k, err := ParseKey(q.Key)
	if err != nil {
		return nil, err
	}
	o, err := n.look(k)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	m := o.Meta()
	switch {
	case m.BodyID != q.BodyID:
		return nil, errChanged
	case q.Offset < 0 || q.Offset > m.BodyBytes:
		return nil, fmt.Errorf("offset %d is not in a body of %d bytes", q.Offset, m.BodyBytes)
	}
	b := make([]byte, min(pieceBytesMax, m.BodyBytes-q.Offset))
	if got, err := o.ReadAt(b, q.Offset); got < len(b) {
		return nil, err
	}
	return b, nil
}

func (n *Node) look(k storage.Key) (storage.Object, error) {
	err := storage.ErrNotFound
	for _, s := range []Store{n.Memory, n.Disk} {
		if s == nil {
			continue
		}
		var o storage.Object
		if o, err = s.Look(k); err == nil {
			return o, nil
		}
	}
	return nil, err
}

// verification is where a verification is: keys come after a place of the walk, up
// to key they are done, and of key the body up to offset. JSON is its form on the
// wire.
type verification struct {
	After  string `json:"a,omitempty"`
	Key    string `json:"k,omitempty"`
	BodyID uint64 `json:"b,omitempty"`
	Offset int64  `json:"o,omitempty"`
}

// verify reads what is on disk until its time is up, and no faster than rate.
func (n *Node) verify(ctx context.Context, after string, rate int64) (*Verified, error) {
	done := &Verified{}
	if n.Disk == nil {
		return done, nil
	}
	var at verification
	if after != "" {
		if err := json.Unmarshal([]byte(after), &at); err != nil {
			return nil, fmt.Errorf("after: %.64q is no place to go on at", after)
		}
	}
	keys, next, err := n.Disk.Walk(at.After, walkKeys)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for i := n.resume(keys, &at); i < len(keys) && at.Key == ""; i++ {
		n.verifyObject(ctx, keys[i], &at, done, began, rate)
		if time.Since(began) > sliceMax && at.Key == "" && i+1 < len(keys) {
			at.Key = keys[i+1].String() // it is the next one, from its front
		}
	}
	if at.Key == "" {
		if next == "" {
			return done, nil
		}
		at = verification{After: next}
	}
	text, err := json.Marshal(at)
	done.Next = string(text)
	return done, err
}

// resume finds the key to go on with; one that is gone begins its piece anew.
func (n *Node) resume(keys []storage.Key, at *verification) int {
	key := at.Key
	at.Key = ""
	for i, k := range keys {
		if key != "" && k.String() == key {
			return i
		}
	}
	at.Offset = 0
	return 0
}

// verifyObject reads an object from at.Offset on. If the time is up before its end,
// at has its key.
func (n *Node) verifyObject(ctx context.Context, k storage.Key, at *verification, done *Verified, began time.Time, rate int64) {
	off, id := at.Offset, at.BodyID
	at.Offset, at.BodyID = 0, 0
	o, err := n.Disk.Look(k)
	if errors.Is(err, storage.ErrNotFound) {
		return
	}
	if err != nil {
		done.Bad = append(done.Bad, Bad{k.String(), err.Error()})
		return
	}
	defer o.Close()
	m := o.Meta()
	if m.BodyID != id || off < 0 {
		off = 0
	}
	block := make([]byte, min(verifyBytes, max(m.BodyBytes, 0)))
	pace(ctx, done, began, rate, verifyBytesMin)
	for off < m.BodyBytes {
		if time.Since(began) > sliceMax || ctx.Err() != nil {
			at.Key, at.Offset, at.BodyID = k.String(), off, m.BodyID
			return
		}
		got, err := o.ReadAt(block[:min(int64(len(block)), m.BodyBytes-off)], off)
		if err != nil && (err != io.EOF || got == 0) {
			done.Bad = append(done.Bad, Bad{k.String(), err.Error()})
			return
		}
		off += int64(got)
		pace(ctx, done, began, rate, int64(got))
	}
	done.Good++
}

// pace counts bytes, and waits until the rate allows that many.
func pace(ctx context.Context, done *Verified, began time.Time, rate, bytes int64) {
	done.Bytes += bytes
	wait := time.Duration(float64(done.Bytes)/float64(rate)*float64(time.Second)) - time.Since(began)
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}
