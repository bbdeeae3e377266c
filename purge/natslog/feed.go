package natslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/purge"
)

// Limits of a feed.
const (
	batchRecordsMax  = 1024
	batchBytesMax    = 8 << 20
	feedMessagesMax  = 16 << 10 // waiting to be taken; the broker's flow control bounds their bytes, 32 MiB
	feedHeartbeat    = time.Second
	feedSilenceMax   = 4 * time.Second
	consumerIdleMax  = 30 * time.Second // after which the broker forgets a consumer that nobody reads
	deleteTimeoutMax = 500 * time.Millisecond
)

// Errors that end a feed. A new one, from the version after the last that was
// taken, puts each of them right.
var (
	errLost         = errors.New("a delivery was lost")
	errSilent       = errors.New("no heartbeat from the broker")
	errDisconnected = errors.New("connection to the broker was lost")
	errFeedClosed   = errors.New("feed is closed")
)

// feed is one push consumer of the stream, held in the broker's memory, and the
// subscription that it delivers to. It repairs nothing: whatever goes wrong
// ends it, because its reader has to look at the log's state before it goes on.
type feed struct {
	log      *Log
	consumer string
	sub      *nats.Subscription
	messages chan *nats.Msg
	status   chan nats.Status
	silence  *time.Timer
	// delivered is the consumer's own count, which has no holes; versions may,
	// once the stream has dropped its oldest.
	delivered uint64
	failure   error // why Next can give nothing more
}

// Follow delivers from a version on.
func (l *Log) Follow(ctx context.Context, from uint64) (purge.Feed, error) {
	f := &feed{
		log:      l,
		messages: make(chan *nats.Msg, feedMessagesMax),
		// Registered before anything else, so that no loss goes unnoticed.
		status:  l.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED),
		silence: time.NewTimer(feedSilenceMax),
	}
	if err := f.subscribe(ctx, from); err != nil {
		f.Close()
		return nil, fmt.Errorf("follow purge log: %w", err)
	}
	return f, nil
}

func (f *feed) subscribe(ctx context.Context, from uint64) error {
	inbox := f.log.nc.NewInbox()
	sub, err := f.log.nc.ChanSubscribe(inbox, f.messages)
	if err != nil {
		return err
	}
	f.sub = sub
	consumer, err := f.log.js.CreatePushConsumer(ctx, StreamName, jetstream.ConsumerConfig{
		DeliverSubject:    inbox,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(1, from),
		AckPolicy:         jetstream.AckNonePolicy,
		FlowControl:       true,
		IdleHeartbeat:     feedHeartbeat,
		InactiveThreshold: consumerIdleMax,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return err
	}
	f.consumer = consumer.CachedInfo().Name
	return nil
}

// Close ends the subscription and the consumer.
func (f *feed) Close() {
	f.silence.Stop()
	f.log.nc.RemoveStatusListener(f.status)
	if f.sub != nil {
		// It fails only when the connection is closed, and all with it.
		_ = f.sub.Unsubscribe()
	}
	if f.consumer == "" || !f.log.nc.IsConnected() {
		return // the broker forgets it by itself
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeoutMax)
	defer cancel()
	_ = f.log.js.DeleteConsumer(ctx, StreamName, f.consumer)
}

// Next waits for a record and gives all that have arrived.
func (f *feed) Next(ctx context.Context) ([]purge.Record, error) {
	if f.failure != nil {
		return nil, f.failure
	}
	var batch []purge.Record
	for size := 0; len(batch) < batchRecordsMax && size < batchBytesMax; {
		m, err := f.receive(ctx, len(batch) == 0)
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		size += len(m.Data)
		// What came before a failure is good, and taking it is progress.
		if batch, f.failure = f.take(batch, m); f.failure != nil {
			break
		}
	}
	if len(batch) == 0 {
		return nil, f.failure
	}
	return batch, nil
}

// receive gives the next message, and nil if there is none yet and it may not
// wait.
func (f *feed) receive(ctx context.Context, mayWait bool) (*nats.Msg, error) {
	if !mayWait {
		select {
		case m := <-f.messages:
			return m, nil
		default:
			return nil, nil
		}
	}
	f.silence.Reset(feedSilenceMax)
	select {
	case m, open := <-f.messages:
		if !open {
			return nil, errFeedClosed
		}
		return m, nil
	case <-f.status:
		return nil, errDisconnected
	case <-f.silence.C:
		return nil, errSilent
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take adds a message's record to the batch, or does what the broker asks.
func (f *feed) take(batch []purge.Record, m *nats.Msg) ([]purge.Record, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "100" {
		return batch, f.control(m)
	}
	meta, err := m.Metadata()
	if err != nil {
		return batch, fmt.Errorf("read purge log: %w", err)
	}
	if f.delivered++; meta.Sequence.Consumer != f.delivered {
		return batch, errLost
	}
	return append(batch, decode(meta.Sequence.Stream, m.Data)), nil
}

// control answers a request of the broker's flow control, which waits until
// everything before it has been taken, and compares a heartbeat's count with
// what has been delivered.
func (f *feed) control(m *nats.Msg) error {
	reply := m.Reply
	if reply == "" {
		reply = m.Header.Get("Nats-Consumer-Stalled")
	}
	if reply != "" {
		if err := f.log.nc.Publish(reply, nil); err != nil {
			return errDisconnected
		}
	}
	last := m.Header.Get("Nats-Last-Consumer")
	if last == "" {
		return nil
	}
	if n, err := strconv.ParseUint(last, 10, 64); err != nil || n != f.delivered {
		return errLost
	}
	return nil
}
