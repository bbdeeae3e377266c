package natslog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/purge"
)

// Names in NATS. A purge is a message on weir.purges.<site> in the stream; its
// version is its sequence number there. One with an idempotency key is on
// weir.purges.=key.<hash of it> instead, which no other may be on: the stream
// itself refuses the second, whichever control it comes from, for as long as it
// has the first. An announcement is a message on weir.nodes.<node>, which nobody
// stores.
const (
	StreamName    = "WEIR_PURGES"
	subjectPurges = "weir.purges."
	subjectKeys   = subjectPurges + "=key."
	subjectNodes  = "weir.nodes."
	metadataEpoch = "weir-epoch"
)

// Options sets the limits of the stream. The zero value gives the defaults.
type Options struct {
	// AgeMax is how long a purge stays in the log. Default 30 days.
	AgeMax time.Duration
	// BytesMax bounds the log, and with it what the server remembers of
	// idempotency keys. Default 1 GiB.
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

// How long parts of an Append and of a reading may take. attemptTimeout is within
// the stream's window for duplicates, so that a repeated attempt is recognised.
const (
	attemptTimeout   = 2 * time.Second
	attemptPause     = 50 * time.Millisecond
	readPatience     = 15 * time.Second // of a reading, while a cluster chooses who orders the log
	heardAttempts    = 100              // until a server has heard of a stream that was made by another
	heardPause       = 50 * time.Millisecond
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
// purges. One that there is gets the limits of the Options. It answers the state
// of the log that there is now.
//
// The log's identity is drawn when the stream is made, and stays with it. It is
// joined with the time of creation, which a stream made from a copy of the
// configuration does not share.
func (l *Log) Create(ctx context.Context) (purge.LogState, error) {
	state, err := l.State(ctx)
	if err == nil {
		return state, l.limit(ctx)
	}
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
	return l.stateOfNew(ctx)
}

// limit gives the stream the limits of the Options, if it has others.
func (l *Log) limit(ctx context.Context) error {
	s, err := l.js.Stream(ctx, StreamName)
	if err != nil {
		return fmt.Errorf("read limits of purge log: %w", err)
	}
	c := s.CachedInfo().Config
	if c.MaxAge == l.AgeMax && c.MaxBytes == l.BytesMax && c.Replicas == l.Replicas {
		return nil
	}
	c.MaxAge, c.MaxBytes, c.Replicas = l.AgeMax, l.BytesMax, l.Replicas
	c.Duplicates = min(duplicatesWindow, l.AgeMax)
	if _, err := l.js.UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("set limits of purge log: %w", err)
	}
	return nil
}

// Renew gives a log that has lost versions which it had given out, such as one that
// was put back from a copy or was cut off where its disk is damaged, another
// identity: it would give the same versions out once more, and a node that has
// applied them would take new purges for old ones. A log whose identity is not
// old any more is left as it is. It answers the state of the log that there is now.
func (l *Log) Renew(ctx context.Context, old string) (purge.LogState, error) {
	s, err := l.stream(ctx)
	if err != nil {
		return purge.LogState{}, fmt.Errorf("renew purge log: %w", err)
	}
	state := stateOf(s)
	if state.Epoch != old {
		return state, nil
	}
	c := s.CachedInfo().Config
	c.Metadata = maps.Clone(c.Metadata)
	c.Metadata[metadataEpoch] = rand.Text()
	if _, err := l.js.UpdateStream(ctx, c); err != nil {
		return state, fmt.Errorf("renew purge log: %w", err)
	}
	return l.State(ctx)
}

// patiently reads something of the log, and again where nobody answers, or the
// answer is that nobody can yet: a cluster that is choosing who orders a stream does
// both. It gives up after readPatience, and when ctx ends.
func (l *Log) patiently(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, attemptTimeout)
		err := read(attempt)
		done()
		silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
		if !silent && !l.electing(err) {
			return err
		}
		select {
		case <-time.After(attemptPause):
		case <-ctx.Done():
			return err
		}
	}
}

// stream asks for the stream, with its state.
func (l *Log) stream(ctx context.Context) (s jetstream.Stream, err error) {
	err = l.patiently(ctx, func(ctx context.Context) (err error) {
		s, err = l.js.Stream(ctx, StreamName)
		return err
	})
	return s, err
}

// stateOfNew is State for a stream that there is since a moment ago: a server
// of a cluster that has not heard of it yet says that there is none.
func (l *Log) stateOfNew(ctx context.Context) (purge.LogState, error) {
	pause := time.NewTicker(heardPause)
	defer pause.Stop()
	for left := heardAttempts; ; left-- {
		state, err := l.State(ctx)
		if !errors.Is(err, jetstream.ErrStreamNotFound) || left == 1 {
			return state, err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return state, err
		}
	}
}

// State asks the stream for its identity and ends.
func (l *Log) State(ctx context.Context) (purge.LogState, error) {
	s, err := l.stream(ctx)
	if err != nil {
		return purge.LogState{}, fmt.Errorf("read state of purge log: %w", err)
	}
	return stateOf(s), nil
}

// stateOf is the state that came with the stream.
func stateOf(s jetstream.Stream) purge.LogState {
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
	}
}

// Append gives r to the log and returns its version once it is on disk there.
// It repeats what was not confirmed until ctx ends, under one message ID, so
// that r gets one version however often it arrives. purge.ErrUnavailable when
// no attempt can have been accepted, purge.ErrUnconfirmed when one may have
// been; purge.ErrRepeated, with its version, when the log has a record of r.Key.
func (l *Log) Append(ctx context.Context, r purge.Record) (uint64, error) {
	body, err := purge.EncodeRecord(r)
	if err != nil {
		return 0, err
	}
	id := rand.Text()
	verdict := purge.ErrUnavailable
	for {
		ack, err := l.attempt(ctx, &r, id, body)
		passing := l.electing(err)
		switch {
		case err == nil:
			return ack.Sequence, nil
		case isTaken(err):
			if version, own := l.keyed(ctx, r.Key, body); own {
				return version, nil
			} else if version > 0 {
				return version, fmt.Errorf("append to purge log: %w", purge.ErrRepeated)
			}
			// It cannot be read yet: another attempt finds out more.
			passing = true
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
			return 0, fmt.Errorf("append to purge log: %w: %w", purge.ErrTooLarge, err)
		case !unsent(err):
			verdict = purge.ErrUnconfirmed
		}
		if ctx.Err() != nil || verdict == purge.ErrUnavailable && !passing {
			return 0, fmt.Errorf("append to purge log: %w: %w", verdict, err)
		}
		select {
		case <-time.After(attemptPause):
		case <-ctx.Done():
		}
	}
}

func (l *Log) attempt(ctx context.Context, r *purge.Record, id string, body []byte) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m := &nats.Msg{Subject: subjectPurges + token(r.Site), Data: body}
	options := []jetstream.PublishOpt{jetstream.WithExpectStream(StreamName)}
	if r.Key == "" {
		options = append(options, jetstream.WithMsgID(id))
	} else {
		// Without a message ID, since the stream looks at the subject first: a
		// second attempt finds the first one there.
		m.Subject = subjectOfKey(r.Key)
		options = append(options, jetstream.WithExpectLastSequencePerSubject(0))
	}
	return l.js.PublishMsg(ctx, m, options...)
}

func subjectOfKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return subjectKeys + hex.EncodeToString(sum[:16])
}

// isTaken says whether the stream refused a record because it has one of its
// key; a stream of several servers has another code for it.
func isTaken(err error) bool {
	refused := new(jetstream.APIError)
	return errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// keyed finds the record that has a key, 0 where that cannot be had, and says
// whether it is the one that is being appended: an attempt of it that was not
// confirmed has arrived after all.
func (l *Log) keyed(ctx context.Context, key string, body []byte) (version uint64, own bool) {
	s, err := l.js.Stream(ctx, StreamName)
	if err != nil {
		return 0, false
	}
	m, err := s.GetLastMsgForSubject(ctx, subjectOfKey(key))
	if err != nil {
		return 0, false
	}
	return m.Sequence, bytes.Equal(m.Data, body)
}

// Scan reads records, as purge.History says; one that cannot be read is shown as
// nodes take it, as a purge of everything.
func (l *Log) Scan(ctx context.Context, first, last uint64, each func(purge.Record) bool) error {
	s, err := l.stream(ctx)
	if err != nil {
		return fmt.Errorf("read purge log: %w", err)
	}
	for v := first; ; {
		var m *jetstream.RawStreamMsg
		err := l.patiently(ctx, func(ctx context.Context) (err error) {
			m, err = s.GetMsg(ctx, v)
			return err
		})
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("read purge %d: %w", v, err)
		}
		if err == nil && !each(decode(v, m.Data)) || v == last {
			return nil
		}
		if first > last {
			v--
		} else {
			v++
		}
	}
}

// decode reads a message of the stream. What cannot be read was written by a
// newer control, or by somebody else: whatever it was meant to purge, a distrust
// of everything covers it.
func decode(version uint64, body []byte) purge.Record {
	r, err := purge.DecodeRecord(version, body)
	if err != nil {
		return purge.Distrust(version, "record in the log cannot be read")
	}
	return r
}

// electing says whether an error of a publication may be a cluster's that has
// lost the server which ordered the log, and is about to choose another.
func (l *Log) electing(err error) bool {
	refused := new(jetstream.APIError)
	return l.Replicas > 1 && (errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.As(err, &refused) && refused.Code == http.StatusServiceUnavailable)
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
