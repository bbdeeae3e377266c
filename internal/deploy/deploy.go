// Package deploy is what `weir deploy`, `weir rollback` and `weir releases` do:
// it brings a directory into a site's bucket as a release, switches the site to
// it in one write, and purges what that changed in one version. How a release
// lies in the bucket is in package release, how it is served in origin.Releases.
//
//	step       what is in the bucket then                  a kill here leaves
//	plan       nothing new                                 nothing
//	upload     contents that no release names              contents for the next try
//	manifest   a manifest that no pointer names            the same
//	switch     the new release is current, its purge is    a purge that any next
//	           written down beside it as pending           command asks for first
//	purge      the purge is accepted, and confirmed        the same, under one key
//	settle     nothing is pending                          nothing
//	sweep      nothing is left that no release names       a lease that ends
package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"weir/internal/lab/bucket"
	"weir/internal/purgecli"
	"weir/origin/release"
	"weir/purge"
)

// Errors that callers tell apart.
var (
	// ErrLost says that another switch came first.
	ErrLost = errors.New("another deploy or rollback has switched the site meanwhile: nothing of this one is served; run it again")
	// ErrUnguarded says that a store does not keep two switches apart.
	ErrUnguarded = errors.New("the store takes a write on a condition that does not hold (If-Match, If-None-Match)")
	// ErrChanging says that a file is not what it was a moment ago.
	ErrChanging = errors.New("the file has changed while it was read: deploy again once it stays as it is")
)

// Options say which site to switch, and how. Site, Bucket and Control are
// required.
type Options struct {
	Site    string
	Bucket  bucket.S3URL
	Control purge.Client
	// Assets say what fingerprints in names look like.
	Assets purge.Assets

	// Keep is how many releases are kept: the current, and those that can be
	// rolled back to and whose assets are still served. Default 5.
	Keep int
	// Parallel is the number of uploads at a time. Default 8.
	Parallel int
	// BrowserTTL and EdgeTTL are the lifetimes of what has no fingerprint.
	// Default 0 and 24 hours.
	BrowserTTL, EdgeTTL time.Duration
	// Immutable and Mutable are patterns of paths that are, and are not, served
	// as if they had a fingerprint, whatever their names look like.
	Immutable, Mutable []string
	// FollowLinks and DotFiles take what is otherwise an error, or left out.
	FollowLinks, DotFiles bool
	// Note is a text beside the release in its list.
	Note string

	// DryRun says what would change, and changes nothing.
	DryRun bool
	// Unguarded goes on with a store that does not keep two switches apart.
	Unguarded bool
	// NoWait returns once the purge is accepted.
	NoWait bool
	// Timeout bounds the wait for the nodes. Default 30 s, at most 60 s.
	Timeout time.Duration

	// Out gets the lines for people, Progress those about the uploads: a bar if
	// Terminal.
	Out      io.Writer
	Progress io.Writer
	Terminal bool

	// Transport carries the requests to the store. Default: one of its own.
	Transport http.RoundTripper
	now       func() time.Time
}

// Limits of a deploy.
const (
	keepDefault     = 5
	parallelDefault = 8
	parallelMax     = 64
	timeoutDefault  = 30 * time.Second
	noteBytesMax    = 200
	reachTimeout    = 15 * time.Second
	writesMax       = 3 // of a pointer
)

func (o Options) withDefaults() (Options, error) {
	o.Keep = cmp.Or(o.Keep, keepDefault)
	o.Parallel = cmp.Or(o.Parallel, parallelDefault)
	o.EdgeTTL = cmp.Or(o.EdgeTTL, 24*time.Hour)
	o.Timeout = cmp.Or(o.Timeout, timeoutDefault)
	o.Out, o.Progress = cmp.Or(o.Out, io.Discard), cmp.Or(o.Progress, io.Discard)
	if o.now == nil {
		o.now = time.Now
	}
	switch {
	case o.Site == "" || o.Bucket.Bucket == "" || o.Control.URL == "":
		return o, errors.New("deploy: Options.Site, Bucket and Control are required")
	case o.Keep < 1 || o.Keep > release.KeepMax:
		return o, fmt.Errorf("--keep %d: want 1 to %d", o.Keep, release.KeepMax)
	case o.Parallel < 1 || o.Parallel > parallelMax:
		return o, fmt.Errorf("--parallel %d: want 1 to %d", o.Parallel, parallelMax)
	case o.BrowserTTL < 0 || o.EdgeTTL < 0:
		return o, errors.New("a lifetime is negative")
	case len(o.Note) > noteBytesMax:
		return o, fmt.Errorf("the note is longer than %d bytes", noteBytesMax)
	}
	return o, o.checkPatterns()
}

// deployer is one run.
type deployer struct {
	Options
	store *store
	// base is the pointer that the run builds on; nil where there is none.
	base *release.Pointer
	etag string // of the pointer in the bucket, as this run knows it
	// Whose sweep is waited for, and since when.
	waitsFor   string
	waitsSince time.Time
}

// open connects to the store.
func open(o Options) (*deployer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := openStore(o)
	if err != nil {
		return nil, err
	}
	return &deployer{Options: o, store: s}, nil
}

func (d *deployer) close() { d.store.close() }

// Run makes the directory the site's current release. That nothing has changed
// is no error. With purge.ErrMissing the release is current and its purge
// accepted, and the nodes that the error names have not confirmed it yet.
func Run(ctx context.Context, o Options, dir string) error {
	d, err := open(o)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.run(ctx, dir); err != nil {
		return fmt.Errorf("deploy %q to %s: %w", dir, o.Site, err)
	}
	return nil
}

func (d *deployer) run(ctx context.Context, dir string) error {
	files, entries, err := d.scan(ctx, dir)
	if err != nil {
		return err
	}
	unsettled := d.settleBase(ctx)
	if unsettled != nil && !errors.Is(unsettled, purge.ErrMissing) {
		return unsettled
	}
	next, err := d.plan(ctx, entries)
	if err != nil {
		return err
	}
	if next == nil {
		if err := d.say("nothing has changed: release %d stays, nothing is purged", d.base.Current); err != nil || d.DryRun {
			return err
		}
		// What somebody has deleted past weir is put back.
		_, err := d.uploadAll(ctx, files, entries)
		return errors.Join(unsettled, err)
	}
	if err := d.tell(next); err != nil || d.DryRun {
		return err
	}
	sent, err := d.uploadAll(ctx, files, entries)
	if err == nil && sent == 0 {
		err = d.say("every content was in the bucket already")
	}
	if err != nil {
		return err
	}
	return d.activate(ctx, next)
}

// activate switches to a release whose contents are in the bucket, and sees to
// all that follows from it.
func (d *deployer) activate(ctx context.Context, next *target) error {
	if err := d.reach(ctx); err != nil {
		return err
	}
	if err := d.guard(ctx); err != nil {
		return err
	}
	if err := d.store.put(ctx, release.ManifestKey(next.sum), next.text); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if err := d.write(ctx, next.pointer); err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	if err := d.say("release %d is current at the origin", next.pointer.Current); err != nil {
		return err
	}
	missing := d.purge(ctx)
	if missing != nil && !errors.Is(missing, purge.ErrMissing) {
		return fmt.Errorf("release %d is current at the origin and not yet purged: the next weir deploy or rollback of the site begins with that: %w",
			next.pointer.Current, missing)
	}
	return errors.Join(missing, d.sweep(ctx))
}

// purge asks for what the base has pending, waits for the nodes, and writes down
// that it is done. Somebody else may be at it as well: the key makes it one purge.
func (d *deployer) purge(ctx context.Context) error {
	request, err := d.pendingRequest(ctx)
	if err != nil {
		return err
	}
	var missing error
	if request != nil {
		missing = purgecli.Run(ctx, purgecli.Options{
			Client: d.Control, Site: request.Site, Scope: request.Scope, Targets: request.Targets, Key: request.Key,
			Wait: !d.NoWait, Timeout: d.Timeout,
		}, d.Out)
		if missing != nil && !errors.Is(missing, purge.ErrMissing) {
			return missing
		}
	}
	settled := *d.base
	settled.Pending = nil
	err = d.write(ctx, &settled)
	if errors.Is(err, ErrLost) {
		// Who came next has found the purge done or has done it himself.
		err = d.read(ctx)
	}
	return errors.Join(missing, err)
}

// settleBase reads the pointer and brings what others have left undone to its
// end: a purge, before anything else is switched; a sweep is waited for. It
// returns purge.ErrMissing if nodes have not confirmed that purge.
func (d *deployer) settleBase(ctx context.Context) error {
	var missing error
	for {
		if err := d.read(ctx); err != nil {
			return err
		}
		switch {
		case d.base == nil:
			return nil
		case d.DryRun:
			return nil
		case d.base.Pending != nil:
			if err := d.say("release %d is current, and its purge was not finished: that first", d.base.Current); err != nil {
				return err
			}
			missing = d.purge(ctx)
			if missing != nil && !errors.Is(missing, purge.ErrMissing) {
				return fmt.Errorf("purge of release %d: %w", d.base.Current, missing)
			}
		case d.leased():
			if err := d.awaitSweep(ctx); err != nil {
				return err
			}
		default:
			return missing
		}
	}
}

// read takes the pointer from the bucket as the new base.
func (d *deployer) read(ctx context.Context) error {
	text, etag, err := d.store.get(ctx, release.PointerKey, release.PointerBytesMax)
	if errors.Is(err, errNotThere) {
		d.base, d.etag = nil, ""
		return nil
	}
	if err != nil {
		return fmt.Errorf("pointer: %w", err)
	}
	p, err := release.DecodePointer(text)
	if err != nil {
		return fmt.Errorf("%s in the bucket: %w", release.PointerKey, err)
	}
	d.base, d.etag = p, etag
	return nil
}

// write puts a pointer in the place of the base, on the condition that this is
// still what the bucket has. ErrLost says that it is not.
func (d *deployer) write(ctx context.Context, p *release.Pointer) error {
	text, err := p.Encode()
	if err != nil {
		return err
	}
	for range writesMax {
		etag, err := d.store.replace(ctx, release.PointerKey, text, d.etag)
		if err != nil && !errors.Is(err, errCondition) {
			return fmt.Errorf("pointer: %w", err)
		}
		if err != nil {
			// An answer may be lost, and the write be tried again after it was
			// done; and a store may refuse one of two at once, and do neither.
			now, at, err := d.store.get(ctx, release.PointerKey, release.PointerBytesMax)
			switch {
			case err != nil && !errors.Is(err, errNotThere):
				return fmt.Errorf("pointer: %w", err)
			case string(now) == string(text):
				etag = at
			case at == d.etag:
				continue
			default:
				return ErrLost
			}
		}
		d.base, d.etag = p, etag
		return nil
	}
	return ErrLost
}

// reach finds out whether control answers, and knows the token, before there is a
// switch that it has to purge. That the token may not see the nodes says nothing.
func (d *deployer) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := d.Control.Nodes(ctx)
	if refused := new(purge.RefusedError); errors.As(err, &refused) && refused.Status != http.StatusUnauthorized {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("nothing has been switched, since the purge would fail: %w", err)
	}
	return nil
}

// guard finds out whether the store keeps two writers of the pointer apart.
func (d *deployer) guard(ctx context.Context) error {
	kept, err := d.store.keepsConditions(ctx)
	if err != nil {
		return fmt.Errorf("try out conditional writes: %w", err)
	}
	if kept || d.Unguarded {
		return nil
	}
	return fmt.Errorf("%w: two deploys at once could undo each other. With --unguarded it is up to you that there are no two", ErrUnguarded)
}

func (d *deployer) say(format string, args ...any) error {
	_, err := fmt.Fprintf(d.Out, format+"\n", args...)
	return err
}

// manifest reads a manifest that a pointer names.
func (d *deployer) manifest(ctx context.Context, sum release.Sum) (*release.Manifest, error) {
	text, _, err := d.store.get(ctx, release.ManifestKey(sum), release.ManifestBytesMax)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", sum, err)
	}
	if release.SumOf(text) != sum {
		return nil, fmt.Errorf("manifest %s in the bucket has another content", sum)
	}
	return release.DecodeManifest(text)
}

// lastBut gives the last n of a list.
func lastBut[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// sortEntries puts entries in a manifest's order.
func sortEntries(entries []release.Entry) {
	slices.SortFunc(entries, func(a, b release.Entry) int { return cmp.Compare(a.Key, b.Key) })
}

// seconds is a lifetime as fields have it.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
