// Package node puts running nodes together out of a configuration: a control,
// a router, a shield, an edge. Each Start binds its sockets and opens its
// files, so that what is wrong with them is known at once; each Run serves
// until its context ends and gives everything back. The commands run one node a
// process; the lab runs them all in one.
package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
	"weir/internal/config"
	"weir/internal/explain"
	"weir/internal/telemetry"
	"weir/internal/vfs"
	"weir/purge"
	"weir/purge/natslog"
	"weir/storage"
	"weir/storage/disk"
	"weir/storage/evict"
	"weir/storage/memory"
	"weir/storage/tiered"
)

// DialFunc opens a connection.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Env is what surrounds a node: the zero value for a process of its own.
type Env struct {
	// DialUpstream and DialControl, if set, open the connections to the next
	// tier and to the purge log: the lab's simulated network.
	DialUpstream DialFunc
	DialControl  nats.CustomDialer
	// WrapListener and WrapPacketConn, if set, stand between an edge's
	// sockets and its servers.
	WrapListener   func(net.Listener) net.Listener
	WrapPacketConn func(net.PacketConn) net.PacketConn
	// Certificate, if set, is used in place of the configured files.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// StopTimeout bounds how long a node's servers wait for requests that run
	// when it stops, and again half of it the fills. Default 2 s.
	StopTimeout time.Duration
	// Log receives the node's lines. Default: slog.Default.
	Log *slog.Logger
}

// The waits for an answer's header grow away from the origin, so that the tier
// next to what hangs is the one that says so; limits.fill_wait is above both.
const (
	originHeaderTimeout = 15 * time.Second
	shieldHeaderTimeout = 20 * time.Second
)

// adminStopTimeout bounds the end of the internal interfaces.
const adminStopTimeout = 500 * time.Millisecond

// memory and disk share the node's folder with these names.
const (
	journalFile = "purges.db"
	diskFolder  = "cache"
	// damagedSuffix is put behind the name of a file that cannot be used.
	damagedSuffix = ".damaged"
)

// tier is what an edge and a shield have in common: a store, the purges that
// hold for it, and the engine over both.
type tier struct {
	name string
	log  *slog.Logger
	// stopTimeout is Env.StopTimeout.
	stopTimeout time.Duration
	memory      *memory.Store // nil: none
	disk        *disk.Store   // nil: none, or none that can be used
	disks       func() []disk.Health
	store       storage.Store
	journal     *purge.Journal
	index       *purge.Index
	follower    *purge.Follower
	sweeper     *purge.Sweeper
	conn        *nats.Conn
	engine      *cache.Engine
	telemetry   *telemetry.Telemetry
}

// budgets are what a node stores, and which of it stays: what the configuration
// says of a PoP or shield.
type budgets struct {
	memory, disk        config.Bytes
	eviction            config.Eviction
	disks               []*config.Disk // in place of disk
	writeMax, objectMax config.Bytes
}

// diskOptions says where objects are kept; folder is the node's own.
func (b budgets) diskOptions(folder string, log *slog.Logger) disk.Options {
	o := disk.Options{
		Dir: filepath.Join(folder, diskFolder), BudgetBytes: int64(b.disk),
		WriteBytesPerSecondMax: int64(b.writeMax), ObjectBytesMax: int64(b.objectMax), AsyncReads: true, Log: log,
	}
	for i, d := range b.disks {
		if i == 0 {
			o.Dir, o.Device, o.BudgetBytes = d.Dir, d.Device, int64(d.Size)
			continue
		}
		o.More = append(o.More, disk.Directory{Path: d.Dir, Device: d.Device, BudgetBytes: int64(d.Size)})
	}
	return o
}

// openTier opens the node's files and connects it to the purge log. What was
// opened before an error is closed again.
func openTier(ctx context.Context, c *config.Config, name string, b budgets, env Env) (_ *tier, err error) {
	env.Log = cmp.Or(env.Log, slog.Default())
	t := &tier{name: name, log: env.Log.With("node", name), stopTimeout: cmp.Or(env.StopTimeout, 2*time.Second)}
	t.telemetry = telemetry.New(name, t.log, c.Log.Access)
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	folder := c.NodeDir(name)
	if err = os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("node %s: state folder: %w", name, err)
	}
	if err = t.openStores(folder, b); err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	if err = t.openPurges(ctx, c, folder, env); err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	t.engine, err = cache.New(cache.Options{
		Node: name, Store: t.store, Purges: t.index, Log: t.log,
		FillWait: c.Limits.FillWait.Std(), FillTimeout: c.Limits.FillTimeout.Std(),
		StallTimeout: c.Limits.StallTimeout.Std(), UnsharedLifetime: c.Limits.UnsharedLifetime.Std(),
		VariantsMax: c.Limits.VariantsMax, RefuseUntrusted: c.Limits.WhenLagging == "refuse",
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	t.sweeper, err = purge.NewSweeper(purge.SweeperOptions{Index: t.index, Journal: t.journal, Sweep: t.sweep, Log: t.log})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	t.publish()
	return t, nil
}

func (t *tier) openStores(folder string, b budgets) error {
	if b.memory > 0 {
		var kind evict.Kind
		if b.eviction != "" { // a configuration made by the lab does not say
			if err := kind.UnmarshalText([]byte(b.eviction)); err != nil {
				return err
			}
		}
		t.memory = memory.New(memory.Options{BudgetBytes: int64(b.memory), Eviction: kind})
		t.telemetry.Store(t.name, storage.TierMemory, t.memory)
	}
	if b.disk > 0 || len(b.disks) > 0 {
		d, err := disk.Open(b.diskOptions(folder, t.log))
		switch {
		case errors.Is(err, vfs.ErrLocked):
			return err
		case err != nil:
			// A bad disk is out of service; the node is not (promise S1).
			t.log.Error("disk tier is out of service", "error", err)
			t.publishHealth(b.outOfService(folder, err))
		default:
			t.disk = d
			t.telemetry.Store(t.name, storage.TierDisk, t.disk)
			t.publishHealth(d.Health)
		}
	}
	t.store = tiered.New(orNone(t.memory), orNone(t.disk), tiered.Options{Log: t.log})
	return nil
}

// orNone gives a store as an interface, and nil for none.
func orNone[S interface {
	comparable
	storage.Store
}](s S) storage.Store {
	var none S
	if s == none {
		return nil
	}
	return s
}

// isDamage says whether an error of a journal is its own: not that another process has
// it, nor that the machine has no room or no right for it, which passes and leaves
// the journal good.
func isDamage(err error) bool {
	for _, passing := range []error{
		purge.ErrJournalHeld, fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, passing) {
			return false
		}
	}
	return true
}

// setAside moves a damaged journal away, in place of one that was before.
func setAside(path string) error {
	return errors.Join(os.RemoveAll(path+damagedSuffix), os.Rename(path, path+damagedSuffix))
}

func (t *tier) openPurges(ctx context.Context, c *config.Config, folder string, env Env) (err error) {
	if t.conn, err = connectLog(ctx, c, c.Control.NATS.URL, t.name, env.DialControl, t.log); err != nil {
		return err
	}
	source, err := natslog.New(t.conn, natslog.Options{})
	if err != nil {
		return err
	}
	keys, err := keysOf(c)
	if err != nil {
		return err
	}
	path := filepath.Join(folder, journalFile)
	err = t.follow(path, source, keys, c.Limits, env.Log)
	if err == nil || !isDamage(err) {
		return err
	}
	// A new journal makes the follower drop what is stored, since nobody knows
	// any more what of it was purged.
	t.log.Error("purge journal is damaged: everything stored is dropped", "error", err, "moved_to", path+damagedSuffix)
	if t.journal != nil {
		_ = t.journal.Close()
	}
	if err := setAside(path); err != nil {
		return err
	}
	return t.follow(path, source, keys, c.Limits, env.Log)
}

// follow opens the journal and makes the follower that puts it in force.
func (t *tier) follow(path string, source purge.Source, keys map[string]*rfc9111.KeyPolicy, limits config.Limits, log *slog.Logger) (err error) {
	if t.journal, err = purge.OpenJournal(path, purge.JournalOptions{}); err != nil {
		return err
	}
	t.index = purge.NewIndex(purge.IndexOptions{Key: func(site string) *rfc9111.KeyPolicy { return keys[site] }})
	t.follower, err = purge.NewFollower(purge.FollowerOptions{
		Name: t.name, Source: source, Journal: t.journal, Index: t.index,
		Announce: natslog.Announcer(t.conn), Snapshot: natslog.SnapshotAsker(t.conn), Pause: natslog.Pauser(t.conn),
		Reset:  func() error { return t.engine.Reset() },
		Keys:   keyTexts(keys),
		LagMax: limits.MaxLag.Std(), Serve: limits.WhenLagging == "serve",
		Log: log, // its lines name the node themselves
	})
	return err
}

// keyTexts are key policies as texts that differ where the policies do.
func keyTexts(keys map[string]*rfc9111.KeyPolicy) map[string]string {
	texts := make(map[string]string, len(keys))
	for site, key := range keys {
		texts[site] = ""
		if key != nil {
			texts[site] = fmt.Sprintf("%+v", *key)
		}
	}
	return texts
}

// publish names the tier's numbers and conditions.
func (t *tier) publish() {
	gauge := func(name, help string, read func() float64) { t.telemetry.Gauge(t.name, name, help, read) }
	gauge("weir_fills_running", "Fills that run now.", func() float64 { return float64(t.engine.FillsRunning()) })
	gauge("weir_purge_applied_version", "Newest purge version in force on this node.",
		func() float64 { return float64(t.index.Applied()) })
	gauge("weir_purge_newest_version", "Newest purge version that this node knows to exist.",
		func() float64 { return float64(t.follower.Status().Newest) })
	gauge("weir_purge_trusted", "1 while this node may answer from its store without asking.",
		func() float64 {
			if t.index.Trusted(time.Now()) {
				return 1
			}
			return 0
		})
	gauge("weir_purge_targets", "Purged targets that this node remembers one by one.",
		func() float64 { return float64(t.index.Stats().Targets) })
	gauge("weir_purge_swept_version", "Version up to which purges were forgotten, since nothing is stored that they cover.",
		func() float64 { return float64(t.index.Stats().Swept) })
	gauge("weir_purge_folds_total", "Sites of which everything was purged, since there were too many targets.",
		func() float64 { return float64(t.index.Stats().Folds) })
	gauge("weir_purge_sweeps_total", "Sweeps of the stores that were completed.",
		func() float64 { return float64(t.sweeper.Sweeps()) })
	t.telemetry.Ready("purges", t.follower.Healthy)
}

// answering tells control what this node knows of a URL (weir explain).
func (t *tier) answering(h *httpcache.Handler) func(context.Context) error {
	return func(ctx context.Context) error {
		return natslog.AnswerQuestions(ctx, t.conn, t.name, explain.Answerer(h), nil)
	}
}

// run follows the purge log and serves until ctx ends, then stops in order:
// servers first, then fills, then the log, then the files.
func (t *tier) run(ctx context.Context, serve ...func(context.Context) error) error {
	defer t.close()
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	followed := make(chan error, 1)
	go func() { followed <- t.follower.Run(following) }()
	swept := make(chan error, 1)
	go func() { swept <- t.sweeper.Run(following) }()

	serve = append(serve, t.answerCache)
	servers, ctx := errgroup.WithContext(ctx)
	for _, s := range serve {
		servers.Go(func() error { return s(ctx) })
	}
	err := servers.Wait()

	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.stopTimeout/2)
	defer cancel()
	if t.engine.Close(closing) != nil {
		t.log.Warn("fills did not end in time", "running", t.engine.FillsRunning())
	}
	stop()
	return errors.Join(err, <-followed, <-swept)
}

func (t *tier) close() {
	if t.conn != nil {
		t.conn.Close()
	}
	if t.journal != nil {
		if err := t.journal.Close(); err != nil {
			t.log.Warn("purge journal", "error", err)
		}
	}
	for _, s := range []storage.Store{orNone(t.memory), orNone(t.disk)} {
		if s == nil {
			continue
		}
		if err := s.Close(); err != nil {
			t.log.Warn("store", "error", err)
		}
	}
}
