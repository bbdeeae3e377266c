package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/internal/config"
	"weir/purge"
)

// A purge log that was put back from a copy is another log: what the copy lacks was
// accepted, and its versions are about to be given out again.
func TestLogPutBackFromACopy(t *testing.T) {
	c := config.Default()
	c.State = t.TempDir()
	c.Tokens = config.Tokens{API: "0123456789abcdef", Tier: "fedcba9876543210", NATS: "00112233445566ff"}
	c.Control.Listen, c.Control.NATS.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Complete()
	// run starts control, has as many purges accepted and applied, and stops it.
	run := func(purges int) (epoch string) {
		t.Helper()
		ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
		defer stop()
		control, err := StartControl(ctx, c, Env{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- control.Run(ctx) }()
		client := purge.Client{URL: "http://" + control.Addr(), Token: string(c.Tokens.API)}
		for range purges {
			result, err := client.Purge(ctx, purge.Request{Scope: purge.ScopeAll})
			for err == nil && control.snapshots.follower.Status().Applied < result.Version && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				t.Error(err)
			}
		}
		epoch, _ = control.nodes.Most()
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		return epoch
	}
	log := filepath.Join(c.NodeDir(c.Control.Name), "log")
	copied := filepath.Join(t.TempDir(), "copy")
	first := run(1)
	if err := os.CopyFS(copied, os.DirFS(log)); err != nil {
		t.Fatal(err)
	}
	if whole := run(2); whole != first {
		t.Errorf("the log is %q after a restart, and was %q", whole, first)
	}
	if err := errors.Join(os.RemoveAll(log), os.CopyFS(log, os.DirFS(copied))); err != nil {
		t.Fatal(err)
	}
	second := run(0)
	if second == first {
		t.Errorf("the log is still %q, and has lost two purges", second)
	}
	if again := run(1); again != second {
		t.Errorf("the log is %q after a restart, and was %q", again, second)
	}
}

// A journal that cannot be opened for want of room is good, and no reason to drop what
// is stored.
func TestWhatIsDamageOfAJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	for _, err := range []error{
		purge.ErrJournalHeld, syscall.EROFS, &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES},
	} {
		if isDamage(errors.Join(fmt.Errorf("open purge journal %s: %w", path, err), nil)) {
			t.Errorf("%v counts as damage", err)
		}
	}
	if err := os.WriteFile(path, []byte("no journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := purge.OpenJournal(path, purge.JournalOptions{}); !isDamage(err) {
		t.Errorf("%v does not count as damage", err)
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := purge.OpenJournal(path, purge.JournalOptions{}); !isDamage(err) {
		t.Errorf("%v does not count as damage", err)
	}
}
