package natslog

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/purge"
)

// Names in NATS. A purge is a message on weir.purges.<site> in the stream; its
// version is its sequence number there. An announcement is a message on
// weir.nodes.<node>, which nobody stores.
const (
	StreamName    = "WEIR_PURGES"
	subjectPurges = "weir.purges."
	subjectNodes  = "weir.nodes."
	metadataEpoch = "weir-epoch"
)

// Options sets the limits of the stream. The zero value gives the defaults.
type Options struct {
	// AgeMax is how long a purge stays in the log. Default 30 days.
	AgeMax time.Duration
	// BytesMax bounds the log. Default 1 GiB.
	BytesMax int64
	// Replicas is the number of servers, of a cluster, that keep it. Default 1.
	Replicas int
}

func (o Options) withDefaults() Options {
	o.AgeMax = cmp.Or(o.AgeMax, 30*24*time.Hour)
	o.BytesMax = cmp.Or(o.BytesMax, 1<<30)
	o.Replicas = cmp.Or(o.Replicas, 1)
	return o
}

// How long parts of an Append may take. attemptTimeout is within the stream's
// window for duplicates, so that a repeated attempt is recognised.
const (
	attemptTimeout   = 2 * time.Second
	attemptPause     = 50 * time.Millisecond
	duplicatesWindow = 2 * time.Minute
)

// Log is the purge log in a JetStream stream: a purge.Source.
type Log struct {
	Options
	nc *nats.Conn
	js jetstream.JetStream
}

// New makes a Log over a connection, which stays the caller's.
func New(nc *nats.Conn, o Options) (*Log, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open purge log: %w", err)
	}
	return &Log{Options: o.withDefaults(), nc: nc, js: js}, nil
}

// Create makes the stream if there is none; control does so before it accepts
// purges. It answers the state of the log that there is now.
//
// The log's identity is drawn when the stream is made, and stays with it. It is
// joined with the time of creation, which a stream made from a copy of the
// configuration does not share.
func (l *Log) Create(ctx context.Context) (purge.LogState, error) {
	state, err := l.State(ctx)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return state, err
	}
	_, err = l.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        StreamName,
		Description: "weir's purges; a message's sequence number is its version",
		Subjects:    []string{subjectPurges + ">"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      l.AgeMax,
		MaxBytes:    l.BytesMax,
		MaxMsgSize:  purge.RecordBytesMax + headerBytesMax,
		Duplicates:  min(duplicatesWindow, l.AgeMax),
		Replicas:    l.Replicas,
		// Nobody takes a purge back: a hole in the log would be distrusted
		// by every node.
		DenyDelete: true,
		DenyPurge:  true,
		Metadata:   map[string]string{metadataEpoch: rand.Text()},
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return state, fmt.Errorf("create purge log: %w", err)
	}
	return l.State(ctx)
}

// State asks the stream for its identity and ends.
func (l *Log) State(ctx context.Context) (purge.LogState, error) {
	s, err := l.js.Stream(ctx, StreamName)
	if err != nil {
		return purge.LogState{}, fmt.Errorf("read state of purge log: %w", err)
	}
	in := s.CachedInfo()
	first := in.State.FirstSeq
	if in.State.Msgs == 0 {
		first = in.State.LastSeq + 1
	}
	created := strconv.FormatInt(in.Created.UnixNano(), 36)
	return purge.LogState{
		Epoch: in.Config.Metadata[metadataEpoch] + "-" + created,
		First: first,
		Last:  in.State.LastSeq,
	}, nil
}

// Append gives r to the log and returns its version once it is on disk there.
// It repeats what was not confirmed until ctx ends, under one message ID, so
// that r gets one version however often it arrives. purge.ErrUnavailable when
// no attempt can have been accepted, purge.ErrUnconfirmed when one may have
// been.
func (l *Log) Append(ctx context.Context, r purge.Record) (uint64, error) {
	body, err := purge.EncodeRecord(r)
	if err != nil {
		return 0, err
	}
	id := rand.Text()
	verdict := purge.ErrUnavailable
	for {
		ack, err := l.attempt(ctx, r.Site, id, body)
		switch {
		case err == nil:
			return ack.Sequence, nil
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
			return 0, fmt.Errorf("append to purge log: %w: %w", purge.ErrTooLarge, err)
		case !unsent(err):
			verdict = purge.ErrUnconfirmed
		}
		if ctx.Err() != nil || verdict == purge.ErrUnavailable {
			return 0, fmt.Errorf("append to purge log: %w: %w", verdict, err)
		}
		select {
		case <-time.After(attemptPause):
		case <-ctx.Done():
		}
	}
}

func (l *Log) attempt(ctx context.Context, site, id string, body []byte) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m := &nats.Msg{Subject: subjectPurges + token(site), Data: body}
	return l.js.PublishMsg(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(StreamName))
}

// unsent says whether an error of a publication means that no stream has, or
// will have, the message.
func unsent(err error) bool {
	for _, certain := range []error{
		nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting,
		nats.ErrInvalidConnection,
		jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled, jetstream.ErrStreamNotFound,
	} {
		if errors.Is(err, certain) {
			return true
		}
	}
	// The stream answered, and refused.
	refused := new(jetstream.APIError)
	return errors.As(err, &refused)
}

// token makes one token of a NATS subject of any name, and different tokens of
// different names: bytes that are special there become =XX.
func token(name string) string {
	b := make([]byte, 0, len(name))
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b = append(b, c)
		default:
			b = fmt.Appendf(b, "=%02X", c)
		}
	}
	if len(b) == 0 {
		return "="
	}
	return string(b)
}
