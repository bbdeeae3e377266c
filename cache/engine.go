// Package cache is the engine that edges and shields both run: look-up,
// collapse, fill, revalidate. An edge is an engine whose upstream is a shield;
// a shield is an engine whose upstream is an origin.
//
// A request is a transaction: an enum of steps, one loop and one switch
// (serve.go). A miss becomes a fill (fill.go), which belongs to nobody and
// survives the client who caused it; its body streams to every waiting reader
// while it is stored (stream.go). What the rules of HTTP say is decided in
// cache/rfc9111, what is kept is kept by a storage.Store, and what has been
// purged is asked of Purges.
package cache

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// StampField is the response field in which a shield tells an edge the stamp
// of the object it answers with, in the form of Version. It never leaves weir's
// own tiers.
const StampField = "Weir-Stamp"

// FreshField is the request field by which an edge tells a shield that it
// validates what it has, so that a stale answer is of no use to it.
const FreshField = "Weir-Fresh"

// TypeField is the response field in which a shield tells an edge, beside a 304,
// the Content-Type that it now has: net/http takes the field itself out of a 304
// (RFC 9110 section 15.4.5 asks only for what a cache needs; RFC 9111 section 3.2
// wants the stored fields updated).
const TypeField = "Weir-Content-Type"

// Version is how the tiers write a purge version to each other: with the
// identity of the log that it counts in.
func Version(epoch string, version uint64) string {
	return epoch + ":" + strconv.FormatUint(version, 10)
}

// ParseVersion reads what Version wrote.
func ParseVersion(text string) (epoch string, version uint64, ok bool) {
	cut := strings.LastIndexByte(text, ':')
	if cut < 0 {
		return "", 0, false
	}
	version, err := strconv.ParseUint(text[cut+1:], 10, 64)
	return text[:cut], version, err == nil
}

// Purges says what has been purged; purge.Index is one.
type Purges interface {
	// Applied is the newest purge version in force on this node: one atomic
	// load. Whoever sees it sees the effects of every version up to it.
	Applied() uint64
	// Covering gives the newest hard and the newest soft purge whose scope
	// covers the object; 0 where there is none. What has been forgotten because
	// everything stored was compared with it counts as a hard purge of all.
	Covering(site, host, target string, tags []string) (hard, soft uint64)
	// NewestTag is the newest purge of scope tag in a site. A fill whose
	// response has not arrived has unknown tags, so any may cover it.
	NewestTag(site string) uint64
	// Position is the identity of the log and Applied, read together. Versions
	// and stamps of different logs have nothing to do with each other.
	Position() (epoch string, applied uint64)
	// Trusted says whether this node's view of the log may be relied on at
	// now. While it is false no stored object is fresh (promise P4).
	Trusted(now time.Time) bool
}

// Site is one site's policy and where its content comes from.
type Site struct {
	// Name is the site's name in keys, purges and logs.
	Name string
	// Policy holds the numbers and switches that the rules take.
	Policy rfc9111.Policy
	// Encodings says which content codings clients are answered in. nil, as on
	// a shield: what upstream sent is what they get.
	Encodings *Encodings
	// Key says what of a request is in its key. The zero value is the target
	// as it is.
	Key rfc9111.KeyPolicy
	// Upstream answers what the store cannot. Edges have a shield here,
	// shields an origin.
	Upstream http.RoundTripper
}

// Options configures an Engine. Store and Purges are required.
type Options struct {
	// Node is this node's name in Via and Cache-Status.
	Node   string
	Store  storage.Store
	Purges Purges
	// FillWait bounds how long a reader waits for a fill's response headers
	// before it fetches for itself, and a client for a body in a coding that it
	// takes. Default 30 s.
	FillWait time.Duration
	// FillTimeout bounds the age of a fill. Default 1 h.
	FillTimeout time.Duration
	// StallTimeout bounds how long a fill waits for upstream's next bytes.
	// Default 60 s.
	StallTimeout time.Duration
	// FillsMax bounds the fills that run at once; a miss beyond it is
	// answered without being stored. Default 16,384.
	FillsMax int
	// BlockBytes is how much of a representation is fetched at once for a
	// client that wants a part of it. Blocks of another size, stored before,
	// are not found again. Default 1 MiB.
	BlockBytes int64
	// RefuseUntrusted answers 503, where something stored might be the answer,
	// while the node does not trust its view of the purge log. Otherwise it
	// validates everything upstream.
	RefuseUntrusted bool
	// UnsharedLifetime is how long a key whose response may not be shared is
	// remembered, so that requests for it do not wait for one another.
	// Default 2 min.
	UnsharedLifetime time.Duration
	// VariantsMax bounds the variants of a key that are stored; one more takes
	// the place of the oldest. Default 64.
	VariantsMax int
	// Skew says by how much the node's clock is wrong now, for simulations: dates
	// and ages follow it. How long the purges are trusted does not, since that is
	// measured by the time that passes, which nobody sets. Default nil: it is right.
	Skew func() time.Duration
	// Log receives what went wrong behind a request. Default: discard.
	Log *slog.Logger
}

// now is what the node's clock says.
func (o *Options) now() time.Time {
	if o.Skew == nil {
		return time.Now()
	}
	return time.Now().Add(o.Skew())
}

// trusted says whether the purges may be relied on at a moment of now.
func (o *Options) trusted(now time.Time) bool {
	if o.Skew != nil {
		now = now.Add(-o.Skew())
	}
	return o.Purges.Trusted(now)
}

func (o Options) withDefaults() (Options, error) {
	if o.Store == nil || o.Purges == nil {
		return o, errors.New("cache: Options.Store and Options.Purges are required")
	}
	o.Node = cmp.Or(o.Node, "weir")
	o.FillWait = cmp.Or(o.FillWait, 30*time.Second)
	o.FillTimeout = cmp.Or(o.FillTimeout, time.Hour)
	o.StallTimeout = cmp.Or(o.StallTimeout, time.Minute)
	o.FillsMax = cmp.Or(o.FillsMax, 16384)
	o.BlockBytes = cmp.Or(o.BlockBytes, 1<<20)
	o.UnsharedLifetime = cmp.Or(o.UnsharedLifetime, 2*time.Minute)
	o.VariantsMax = cmp.Or(o.VariantsMax, 64)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o, nil
}

// landedShards is how many counters tell transactions that a fill has landed
// between their look-up and their wish to start one.
const landedShards = 256

// Engine serves requests from a store and fills the store from upstream.
type Engine struct {
	Options

	// ctx ends when the engine closes; every fill runs below it.
	ctx    context.Context
	cancel context.CancelFunc
	// running counts the fills, so that Close can wait for them.
	running sync.WaitGroup
	// count is how many fills run.
	count  atomic.Int64
	relays relays
	// unshared are the keys for which each request has a fill of its own.
	unshared *unshared
	groups   *groups
	sweeping sweeping
	// listing keeps lists of variants from being written by two fills at once.
	listing sync.Mutex
	// derivations make objects in other content codings.
	derivations *derivations

	// mu guards fills, storing and closed. It is taken with no other lock held,
	// and nothing blocks under it.
	mu     sync.Mutex
	fills  map[storage.Key]*fill
	closed bool
	// storing are the fills that may still store something: those that can be
	// joined, and those that are for one request alone.
	storing map[*fill]struct{}
	// landed counts, by shard of the key, fills that have left the map.
	landed [landedShards]atomic.Uint64
}

// New makes an engine. The caller closes it before it closes the store.
func New(o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		Options: o, fills: make(map[storage.Key]*fill), storing: make(map[*fill]struct{}),
		unshared: newUnshared(o.UnsharedLifetime), groups: newGroups(),
	}
	e.derivations = newDerivations(e)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// Close ends every fill and every derivation, and waits for them until ctx
// ends. Transactions that still run afterwards fail.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.derivations.close()
	e.cancel()
	done := make(chan struct{})
	go func() {
		e.running.Wait()
		e.derivations.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drain waits until no fill runs, or ctx ends. It does not stop new ones.
func (e *Engine) Drain(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for e.FillsRunning() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// FillsRunning is how many fills run now.
func (e *Engine) FillsRunning() int { return int(e.count.Load()) }

func (e *Engine) landedShard(k storage.Key) *atomic.Uint64 { return &e.landed[k[0]] }
