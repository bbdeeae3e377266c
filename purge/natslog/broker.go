// Package natslog keeps the purge log in NATS JetStream: the broker that control
// embeds, connections to it or to an external cluster, the log as a
// purge.Source, and the announcements that nodes make.
package natslog

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"weir/purge"
)

// headerBytesMax is room for a message's headers besides its record.
const headerBytesMax = 64 << 10

// BrokerOptions configures a Broker. StoreDir, and either Token or Username and
// Password, are required: whoever reaches the broker can purge everything.
type BrokerOptions struct {
	// Listen is host:port; port 0 takes a free one. Default 127.0.0.1:4222.
	Listen string
	// StoreDir keeps the streams; it is made with mode 0700.
	StoreDir string
	// Token, or Username and Password, is what clients must show.
	Token, Username, Password string
	// StoreBytesMax bounds the disk space of all streams. Default 2 GiB.
	StoreBytesMax int64
	// ReadyTimeout bounds the start, which reads the streams. Default 30 s.
	ReadyTimeout time.Duration
	// Log receives the broker's own lines: what it calls notices, at debug.
	// Default: discard.
	Log *slog.Logger
}

func (o BrokerOptions) withDefaults() (BrokerOptions, error) {
	if o.StoreDir == "" {
		return o, errors.New("natslog: BrokerOptions.StoreDir is required")
	}
	if err := checkCredentials(o.Token, o.Username, o.Password); err != nil {
		return o, err
	}
	if o.Token == "" && o.Username == "" {
		return o, errors.New("natslog: BrokerOptions needs Token, or Username and Password")
	}
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:4222")
	o.StoreBytesMax = cmp.Or(o.StoreBytesMax, 2<<30)
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, 30*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o, nil
}

func checkCredentials(token, username, password string) error {
	if (username == "") != (password == "") || (token != "" && username != "") {
		return errors.New("natslog: give Token, or both Username and Password")
	}
	return nil
}

// Broker is a NATS server in this process.
type Broker struct {
	server *server.Server
	addr   string
	close  sync.Once
}

// StartBroker starts a server and returns when it answers.
func StartBroker(o BrokerOptions) (*Broker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	// Left to the server, the directory would be readable by everybody.
	if err := os.MkdirAll(o.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	if settings.Port != server.RANDOM_PORT {
		// The server itself would try for ReadyTimeout.
		l, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return nil, fmt.Errorf("start broker: %w", err)
		}
		_ = l.Close()
	}
	s, err := server.NewServer(settings)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	logger := &serverLog{log: o.Log}
	s.SetLoggerV2(logger, false, false, false)
	s.Start()
	if !s.ReadyForConnections(o.ReadyTimeout) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("start broker on %s: %w", o.Listen, logger.failure())
	}
	return &Broker{server: s, addr: s.Addr().String()}, nil
}

func (o *BrokerOptions) settings() (*server.Options, error) {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("start broker: listen address: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("start broker: listen address %s: port is not a number up to 65535", o.Listen)
	}
	settings := &server.Options{
		ServerName:             "weir-control",
		Host:                   cmp.Or(host, "0.0.0.0"),
		Port:                   int(port),
		Authorization:          o.Token,
		Username:               o.Username,
		Password:               o.Password,
		NoSigs:                 true,
		MaxPayload:             purge.RecordBytesMax + headerBytesMax,
		JetStream:              true,
		StoreDir:               o.StoreDir,
		JetStreamMaxStore:      o.StoreBytesMax,
		JetStreamMaxMemory:     64 << 20, // consumers only
		DisableJetStreamBanner: true,
		// An acknowledged purge is on disk: this is promise P5.
		SyncAlways: true,
	}
	if port == 0 {
		settings.Port = server.RANDOM_PORT
	}
	return settings, nil
}

// Addr is the host:port that the broker listens on.
func (b *Broker) Addr() string { return b.addr }

// URL is the address in the form that Connect takes.
func (b *Broker) URL() string { return "nats://" + b.addr }

// Close stops the broker and waits until it has written and closed everything.
func (b *Broker) Close() error {
	b.close.Do(func() {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	})
	return nil
}

// serverLog passes the server's lines on to slog.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex // guards fatal
	fatal string
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("broker: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Debugf(format string, v ...any) {
	l.log.Debug("broker: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Tracef(format string, v ...any) {
	l.log.Debug("broker: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("broker: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Warn("broker: " + fmt.Sprintf(format, v...))
}

// Fatalf keeps what made the start fail. The server's own logger would end the
// process here.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = fmt.Sprintf(format, v...)
}

func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.New(cmp.Or(l.fatal, "not ready in time"))
}
