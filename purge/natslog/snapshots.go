package natslog

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// subjectSnapshot is where a node asks for the purges that the log no longer has.
// Every control listens there as one of a group, so that one of them answers.
const (
	subjectSnapshot = "weir.snapshot"
	snapshotGroup   = "control"
)

// SnapshotAsker gives a function that asks any control for a page of a snapshot; see
// purge.FollowerOptions. ErrAway at once if there is none that can hear it.
func SnapshotAsker(nc *nats.Conn) func(ctx context.Context, question []byte) ([]byte, error) {
	return func(ctx context.Context, question []byte) ([]byte, error) {
		answer, err := request(ctx, nc, subjectSnapshot, question)
		if err != nil {
			return nil, fmt.Errorf("ask control: %w", err)
		}
		return answer, nil
	}
}

// AnswerSnapshots answers nodes that ask for pages of a snapshot, one after the
// other, until ctx ends; it then returns nil.
func AnswerSnapshots(ctx context.Context, nc *nats.Conn, answer func(question []byte) []byte, ready func()) error {
	return listenAs(ctx, nc, "answer snapshots", subjectSnapshot, snapshotGroup, questionsMax, ready, func(m *nats.Msg) { respond(m, answer) })
}
