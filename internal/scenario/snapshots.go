package scenario

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"weir/purge"
	"weir/purge/memlog"
)

// snapshots is control as far as it keeps what the log forgets.
type snapshots struct {
	journal *purge.Journal
	link    *memlog.Link
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func startSnapshots(dir string, log *memlog.Log) (*snapshots, error) {
	s := &snapshots{link: log.Link()}
	var err error
	if s.journal, err = purge.OpenJournal(filepath.Join(dir, "control.db"), purge.SnapshotJournalOptions()); err != nil {
		return nil, err
	}
	follower, err := purge.NewFollower(purge.FollowerOptions{
		Name: "control", Source: s.link, Journal: s.journal, Index: purge.NewIndex(purge.IndexOptions{TargetsMax: 1}),
	})
	if err != nil {
		return nil, errors.Join(err, s.journal.Close())
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(func() { _ = follower.Run(ctx) })
	return s, nil
}

// asker is how the node at the end of a link asks; nil for a cluster without.
func (s *snapshots) asker(link *memlog.Link) func(context.Context, []byte) ([]byte, error) {
	if s == nil {
		return nil
	}
	return func(ctx context.Context, question []byte) ([]byte, error) {
		if _, err := link.State(ctx); err != nil {
			return nil, err // it is cut off from control too
		}
		return purge.Snapshots{Journal: s.journal}.Answer(question), nil
	}
}

func (s *snapshots) close() error {
	if s == nil {
		return nil
	}
	s.cancel()
	s.running.Wait()
	return s.journal.Close()
}
