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
	messages := make(chan *nats.Msg, announcementsMax)
	sub, err := nc.ChanSubscribe(subjectNodes+"*", messages)
	if err != nil {
		return fmt.Errorf("observe nodes: %w", err)
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
				return fmt.Errorf("observe nodes: %w", nats.ErrConnectionClosed)
			}
			a, err := purge.DecodeAnnouncement(m.Data)
			if err == nil && strings.TrimPrefix(m.Subject, subjectNodes) == token(a.Node) {
				observe(a)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
