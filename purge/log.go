package purge

import "context"

// LogState is what a log said of itself at one moment.
type LogState struct {
	// Epoch is the log's identity. Versions of different epochs have nothing
	// to do with each other.
	Epoch string
	// First is the oldest version that the log still has, or Last+1 when it
	// has none.
	First uint64
	// Last is the newest version that the log ever gave; 0 for none.
	Last uint64
}

// Source is a log as its followers see it. Both methods fail when the log
// cannot be reached.
type Source interface {
	// State asks the log itself: the answer was true at some moment during
	// the call.
	State(ctx context.Context) (LogState, error)
	// Follow delivers records from a version on. The caller closes the Feed.
	Follow(ctx context.Context, from uint64) (Feed, error)
}

// Feed delivers records in the order of their versions.
type Feed interface {
	// Next waits for at least one record and gives all that have arrived, up
	// to a bound. After an error the feed is of no more use.
	Next(ctx context.Context) ([]Record, error)
	// Close ends the feed and waits for what it started.
	Close()
}

// History is a log as control reads it for people.
type History interface {
	// State is that of Source.
	State(ctx context.Context) (LogState, error)
	// Scan hands each the records of the versions from first to last, upwards
	// or, where first is the greater, downwards, until it says false. Versions
	// that the log does not have are left out.
	Scan(ctx context.Context, first, last uint64, each func(Record) bool) error
}
