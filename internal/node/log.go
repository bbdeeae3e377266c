package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go"

	"weir/internal/config"
	"weir/purge/natslog"
)

// connectLog connects a node to the purge log at url, under the node's name.
func connectLog(ctx context.Context, c *config.Config, url, name string, dialer nats.CustomDialer, log *slog.Logger) (*nats.Conn, error) {
	o := natslog.ConnectOptions{URL: url, Name: name, Dialer: dialer, Log: log}
	if n := &c.Control.NATS; n.External() && n.User != "" {
		o.Username, o.Password = n.User, string(c.Tokens.NATS)
	} else {
		o.Token = string(c.Tokens.NATS)
	}
	if file := c.Control.NATS.CA; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("control.nats.ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("control.nats.ca: %s has no certificate in PEM", file)
		}
		o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return natslog.Connect(ctx, o)
}

// logOptions are the limits of the log that the configuration sets.
func logOptions(n *config.NATS) natslog.Options {
	return natslog.Options{AgeMax: n.AgeMax.Std(), BytesMax: int64(n.BytesMax), Replicas: cmp.Or(n.Replicas, 1)}
}
