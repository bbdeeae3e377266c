package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"weir/internal/config"
	"weir/purge"
	"weir/purge/natslog"
)

// snapshots is what control keeps for nodes that were away for longer than the log
// reaches back: it follows the log as they do, into a journal that is bounded by
// targets and not by time.
type snapshots struct {
	journal  *purge.Journal
	follower *purge.Follower
}

// openSnapshots opens the journal. One that is damaged begins anew, at the log's
// tail: nodes that were away for longer distrust what they have.
func openSnapshots(c *config.Config, source purge.Source, log *slog.Logger) (*snapshots, error) {
	folder := c.NodeDir(c.Control.Name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	path := filepath.Join(folder, journalFile)
	s := &snapshots{}
	err := s.open(path, c.Control.Name, source, log)
	if err == nil || !isDamage(err) {
		return s, err
	}
	log.Error("journal for snapshots is damaged and begun anew", "error", err, "moved_to", path+damagedSuffix)
	s.close(log)
	if err := setAside(path); err != nil {
		return nil, err
	}
	return s, s.open(path, c.Control.Name, source, log)
}

func (s *snapshots) open(path, name string, source purge.Source, log *slog.Logger) (err error) {
	if s.journal, err = purge.OpenJournal(path, purge.SnapshotJournalOptions()); err != nil {
		return err
	}
	s.follower, err = purge.NewFollower(purge.FollowerOptions{
		Name: name, Source: source, Journal: s.journal, Log: log,
		// Control stores nothing that it would ask for.
		Index: purge.NewIndex(purge.IndexOptions{TargetsMax: 1}),
	})
	return err
}

// run follows the log and answers nodes until ctx ends.
func (s *snapshots) run(ctx context.Context, nc *nats.Conn) error {
	of := purge.Snapshots{Journal: s.journal}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.follower.Run(ctx) })
	group.Go(func() error { return of.Run(ctx) })
	group.Go(func() error { return natslog.AnswerSnapshots(ctx, nc, of.Answer, nil) })
	return group.Wait()
}

func (s *snapshots) close(log *slog.Logger) {
	if s == nil || s.journal == nil {
		return
	}
	if err := s.journal.Close(); err != nil {
		log.Warn("journal for snapshots", "error", err)
	}
}
