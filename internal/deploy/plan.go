package deploy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"weir/internal/sitefiles"
	"weir/origin/release"
)

const (
	// fileBytesMax is what 10,000 parts, S3's limit, hold.
	fileBytesMax  = 10_000 * partBytes
	totalBytesMax = 1 << 40
	// immutable is the lifetime of what has a fingerprint: RFC 8246.
	immutable = "public, max-age=31536000, immutable"
)

// scan lists and hashes a directory. entries[i] is of files[i].
func (d *deployer) scan(ctx context.Context, dir string) ([]sitefiles.File, []release.Entry, error) {
	left := 0
	files, err := sitefiles.List(dir, sitefiles.Options{
		FollowLinks: d.FollowLinks, HideDots: !d.DotFiles, BytesMax: fileBytesMax,
		Skipped: func(name string, why error) {
			if left++; left <= listedMax {
				_ = d.say("left out: %q (%v)", name, why)
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	if left > listedMax {
		_ = d.say("left out: %d more", left-listedMax)
	}
	if len(files) > release.EntriesMax {
		return nil, nil, fmt.Errorf("its %d files are more than %d", len(files), release.EntriesMax)
	}
	entries := make([]release.Entry, len(files))
	var total int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.Parallel)
	for i, f := range files {
		if total += f.Bytes; total > totalBytesMax {
			_ = group.Wait()
			return nil, nil, fmt.Errorf("its files have more than %d bytes", int64(totalBytesMax))
		}
		group.Go(func() error {
			sum, err := hashFile(ctx, f)
			if err != nil {
				return fmt.Errorf("file %q: %w", f.Path, err)
			}
			entries[i] = d.describe(f, sum)
			return nil
		})
	}
	return files, entries, group.Wait()
}

// hashFile hashes a file, which has to be what it was when it was listed.
func hashFile(ctx context.Context, f sitefiles.File) (sum release.Sum, err error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return sum, err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, contextReader{ctx, file})
	if err != nil {
		return sum, err
	}
	after, err := file.Stat()
	if err != nil {
		return sum, err
	}
	if n != f.Bytes || after.Size() != n || !after.ModTime().Equal(before.ModTime()) {
		return sum, ErrChanging
	}
	return release.Sum(hash.Sum(nil)), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// describe says how a file is served.
//
// What has a fingerprint is for browsers to keep. All else browsers ask about
// each time, which costs them a 304 from the nearest PoP; weir itself keeps it
// for as long as EdgeTTL, since a deploy purges what it changes. Surrogate-Control
// says so, which weir obeys and does not pass on to clients: s-maxage would
// forbid serving stale when the origin is down (RFC 9111 section 5.2.2.10).
func (d *deployer) describe(f sitefiles.File, sum release.Sum) release.Entry {
	e := release.Entry{Key: f.Key, Sum: sum, Bytes: f.Bytes, Type: sitefiles.ContentType(f.Key)}
	media, _, _ := strings.Cut(e.Type, ";")
	switch {
	case media == "text/html" || media == "application/xhtml+xml":
		e.Kind = release.KindPage
	case matches(d.Mutable, f.Key):
	case d.Assets.Fingerprinted("/"+f.Key) || matches(d.Immutable, f.Key):
		e.Kind, e.Cache = release.KindAsset, immutable
		return e
	}
	e.Cache = "public, max-age=" + seconds(d.BrowserTTL)
	if d.BrowserTTL == 0 {
		e.Cache += ", must-revalidate"
	}
	e.Edge = "max-age=" + seconds(d.EdgeTTL)
	return e
}

// checkPatterns refuses what path.Match cannot read.
func (o *Options) checkPatterns() error {
	for _, p := range append(append([]string{}, o.Immutable...), o.Mutable...) {
		if _, err := path.Match(p, ""); err != nil || !strings.HasPrefix(p, "/") {
			return fmt.Errorf("pattern %q: want a path such as /img/*.png, or a folder such as /_app/immutable/", p)
		}
	}
	return nil
}

// matches says whether a path is below a folder (a pattern that ends in a slash)
// or is like a pattern of path.Match.
func matches(patterns []string, key string) bool {
	for _, p := range patterns {
		if strings.HasSuffix(p, "/") && strings.HasPrefix("/"+key, p) {
			return true
		}
		if ok, _ := path.Match(p, "/"+key); ok {
			return true
		}
	}
	return false
}

// target is a release to switch to.
type target struct {
	manifest *release.Manifest
	text     []byte
	sum      release.Sum
	pointer  *release.Pointer // as it is to be
	diff     diff
}

// plan makes a release of the entries on top of the base, or nil if the current
// one has the same.
func (d *deployer) plan(ctx context.Context, entries []release.Entry) (*target, error) {
	m := &release.Manifest{Release: 1, Entries: append([]release.Entry{}, entries...)}
	sortEntries(m.Entries)
	ref := release.Ref{At: d.now().UTC(), Files: len(entries), Note: d.Note}
	for i := range entries {
		ref.Bytes += entries[i].Bytes
	}
	var from *release.Manifest
	if d.base != nil {
		m.Release, ref.Previous = d.base.Last+1, d.base.Current
		var err error
		if from, err = d.manifest(ctx, d.base.CurrentRef().Manifest); err != nil {
			return nil, err
		}
		if sameFiles(from, m) {
			return nil, nil
		}
	}
	ref.Number = m.Release
	return d.targetOf(ctx, from, m, ref)
}

// targetOf makes m, which has its own files only, ready to switch to: with the
// assets of the releases that are kept.
func (d *deployer) targetOf(ctx context.Context, from, m *release.Manifest, ref release.Ref) (t *target, err error) {
	t = &target{manifest: m, pointer: &release.Pointer{Current: ref.Number, Last: ref.Number}}
	pending := &release.Pending{Key: "deploy-" + rand.Text()}
	if d.base != nil {
		t.pointer.Last = max(d.base.Last, ref.Number)
		for _, r := range d.base.Releases {
			if r.Number != ref.Number {
				t.pointer.Releases = append(t.pointer.Releases, r)
			}
		}
		pending.From = &d.base.CurrentRef().Manifest
	}
	t.pointer.Releases = append(lastBut(t.pointer.Releases, d.Keep-1), ref)
	if err := d.keepAssets(ctx, m, t.pointer.Releases[:len(t.pointer.Releases)-1], from); err != nil {
		return nil, err
	}
	if t.text, err = m.Encode(); err != nil {
		return nil, err
	}
	t.sum = release.SumOf(t.text)
	t.pointer.CurrentRef().Manifest, pending.To = t.sum, t.sum
	t.pointer.Pending = pending
	t.diff = diffOf(from, m)
	return t, nil
}

// mayBeNamed says whether pages that clients still have may need the file: an asset,
// or what they load whose name looks like one's. That browsers keep a file for good
// needs certainty; that it is there for a while longer does not.
func (d *deployer) mayBeNamed(e *release.Entry) bool {
	if e.Kind != release.KindFile {
		return e.Kind == release.KindAsset
	}
	media, _, _ := strings.Cut(e.Type, ";")
	kind, _, _ := strings.Cut(media, "/")
	switch {
	case matches(d.Mutable, e.Key):
		return false
	case kind == "font" || kind == "image" || kind == "audio" || kind == "video":
	case media == "text/css" || media == "text/javascript" || media == "application/json" || media == "application/wasm":
	default:
		return false
	}
	return d.Assets.PerhapsFingerprinted("/" + e.Key)
}

// keepAssets adds to m the assets of earlier releases, the newest first, whose
// paths m does not have itself: clients may still have pages that name them.
func (d *deployer) keepAssets(ctx context.Context, m *release.Manifest, earlier []release.Ref, current *release.Manifest) error {
	have := make(map[string]bool, len(m.Entries))
	for i := range m.Entries {
		have[m.Entries[i].Key] = true
	}
	for i := len(earlier) - 1; i >= 0; i-- {
		old := current
		if current == nil || current.Release != earlier[i].Number {
			var err error
			if old, err = d.manifest(ctx, earlier[i].Manifest); err != nil {
				return fmt.Errorf("release %d: %w", earlier[i].Number, err)
			}
		}
		for _, e := range old.Entries {
			if e.Kept || have[e.Key] || !d.mayBeNamed(&e) {
				continue
			}
			have[e.Key] = true
			e.Kept = true
			m.Entries = append(m.Entries, e)
		}
	}
	if len(m.Entries) > release.EntriesMax {
		return fmt.Errorf("with the assets of earlier releases there are %d paths, more than %d: --keep fewer", len(m.Entries), release.EntriesMax)
	}
	sortEntries(m.Entries)
	return nil
}

// own gives the entries of a release's own files.
func own(m *release.Manifest) []release.Entry {
	var all []release.Entry
	for _, e := range m.Entries {
		if !e.Kept {
			all = append(all, e)
		}
	}
	return all
}

// sameFiles says whether two releases have the same files, served in the same way.
func sameFiles(a, b *release.Manifest) bool {
	x, y := own(a), own(b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i].Key != y[i].Key || x[i].Kind != y[i].Kind || !x[i].Same(&y[i]) {
			return false
		}
	}
	return true
}

// errNoRelease says that a release is not among those that are kept.
var errNoRelease = errors.New("no such release is kept")
