package natslog

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// ConnectOptions configures a connection. URL is required.
type ConnectOptions struct {
	// URL is nats://host:port or tls://host:port, or several with commas
	// between them, without credentials: URLs end up in logs.
	URL string
	// Token, or Username and Password, if the broker wants them.
	Token, Username, Password string
	// Name says in the broker's logs who this is.
	Name string
	// Dialer opens the connections. Default: package net's, which gives an address 1.5 s.
	Dialer nats.CustomDialer
	// TLS is for tls:// addresses. Default: the system's roots.
	TLS *tls.Config
	// Log receives what becomes of the connection. Default: discard.
	Log *slog.Logger
}

func (o ConnectOptions) withDefaults() (ConnectOptions, error) {
	for one := range strings.SplitSeq(o.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "":
			// The URL is not repeated: it may hold a password.
			return o, errors.New("natslog: ConnectOptions.URL must be nats://host:port")
		case u.User != nil:
			return o, errors.New("natslog: credentials belong in Token, or Username and Password, not in the URL")
		}
	}
	o.Name = cmp.Or(o.Name, "weir")
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{Timeout: openTimeout}
	}
	return o, checkCredentials(o.Token, o.Username, o.Password)
}

// How soon a dead connection is noticed and replaced. One that is silent for less than
// pingsMissingMax intervals is not given up. An address that does not answer is tried
// again after openTimeout, rather than when the kernel would repeat its SYN, at 1, 3 and
// 7 s; what comes after that, TLS and the broker's greeting, may take all of dialTimeout.
const (
	dialTimeout     = 3 * time.Second
	openTimeout     = 1500 * time.Millisecond
	pingInterval    = time.Second
	pingsMissingMax = 3
	reconnectWait   = 100 * time.Millisecond
	reconnectJitter = 200 * time.Millisecond
)

// Connect makes a connection that reconnects for ever, with jitter. It returns
// after the first attempt, whether or not that succeeded, or an error if the
// options are wrong or ctx has ended. The caller closes the connection.
func Connect(ctx context.Context, o ConnectOptions) (*nats.Conn, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	timeout := dialTimeout
	if deadline, has := ctx.Deadline(); has {
		timeout = max(time.Millisecond, min(timeout, time.Until(deadline)))
	}
	nc, err := nats.Connect(o.URL, o.settings(timeout)...)
	if err != nil {
		return nil, fmt.Errorf("connect to purge log: %w", err)
	}
	return nc, nil
}

func (o *ConnectOptions) settings(timeout time.Duration) []nats.Option {
	settings := []nats.Option{
		nats.Name(o.Name),
		nats.SetCustomDialer(o.Dialer),
		nats.Timeout(timeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMissingMax),
		// While there is no connection, publishing fails: a purge that waits
		// in a buffer was not accepted, and an announcement has no use later.
		nats.ReconnectBufSize(-1),
		// A broker that refuses the credentials today may be given the right
		// ones; by default the client would give up at the second refusal.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Log.Warn("purge log connection lost", "name", o.Name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			o.Log.Info("purge log connection made", "name", o.Name, "broker", nc.ConnectedAddr())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Log.Warn("purge log connection", "name", o.Name, "error", err)
		}),
	}
	if o.Token != "" {
		settings = append(settings, nats.Token(o.Token))
	}
	if o.Username != "" {
		settings = append(settings, nats.UserInfo(o.Username, o.Password))
	}
	if o.TLS != nil {
		settings = append(settings, nats.Secure(o.TLS))
	}
	return settings
}

// Pauser gives a function for one follower to wait with until it asks the log again; see
// purge.FollowerOptions. It waits no longer once there is a new connection. That may have
// been made since it waited last, or while it waits to be told of it: the client's lock is
// held while it connects.
func Pauser(nc *nats.Conn) func(ctx context.Context, d time.Duration) {
	var seen uint64 // connections that it has not waited for
	return func(ctx context.Context, d time.Duration) {
		again := nc.StatusChanged(nats.CONNECTED)
		defer nc.RemoveStatusListener(again)
		if made := nc.Stats().Reconnects; made > seen && nc.IsConnected() {
			seen = made
			return
		}
		select {
		case <-again:
			seen = nc.Stats().Reconnects
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}
