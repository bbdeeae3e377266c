package natslog

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"weir/purge"
)

// announcementsMax bounds the announcements that wait to be observed; beyond it
// they are lost, and the next heartbeat says the same.
const announcementsMax = 8 << 10

// Announcer gives a function that sends a node's announcements to control. It
// fails at once while there is no connection.
func Announcer(nc *nats.Conn) func(purge.Announcement) error {
	return func(a purge.Announcement) error {
		body, err := purge.EncodeAnnouncement(a)
		if err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		if err := nc.Publish(subjectNodes+token(a.Node), body); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		return nil
	}
}

// ObserveNodes hands every announcement to observe until ctx ends; it then
// returns nil. It calls ready, if that is not nil, once it will miss none.
// Announcements that cannot be read, or that speak for another node than their
// subject names, are ignored.
func ObserveNodes(ctx context.Context, nc *nats.Conn, observe func(purge.Announcement), ready func()) error {
	return listen(ctx, nc, "observe nodes", subjectNodes+"*", announcementsMax, ready, func(m *nats.Msg) {
		a, err := purge.DecodeAnnouncement(m.Data)
		if err == nil && strings.TrimPrefix(m.Subject, subjectNodes) == token(a.Node) {
			observe(a)
		}
	})
}

// listen hands what is published on a subject to take, one message after the
// other, until ctx ends; it then returns nil. At most waitingMax messages wait:
// what comes beyond them is lost. It calls ready, if that is not nil, once it
// will miss none. what says in an error what it was for.
func listen(ctx context.Context, nc *nats.Conn, what, subject string, waitingMax int, ready func(), take func(*nats.Msg)) error {
	return listenAs(ctx, nc, what, subject, "", waitingMax, ready, take)
}

// listenAs is listen as one of a group, of which one takes each message; "" for
// alone.
func listenAs(ctx context.Context, nc *nats.Conn, what, subject, group string, waitingMax int, ready func(), take func(*nats.Msg)) error {
	messages := make(chan *nats.Msg, waitingMax)
	sub, err := nc.ChanQueueSubscribe(subject, group, messages)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if ready != nil {
		// Without a connection it is subscribed when there is one.
		_ = nc.FlushTimeout(dialTimeout)
		ready()
	}
	for {
		select {
		case m, open := <-messages:
			if !open {
				return fmt.Errorf("%s: %w", what, nats.ErrConnectionClosed)
			}
			take(m)
		case <-ctx.Done():
			return nil
		}
	}
}
