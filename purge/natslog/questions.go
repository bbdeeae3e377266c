package natslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Control asks nodes, and they answer, over the connections that they have to
// the log anyway: nobody has to know a node's address, nor be let in there. A
// question is a request on weir.ask.<node>, which nobody stores; whoever may
// connect to the log may ask.

const subjectAsk = "weir.ask."

// questionsMax bounds the questions that wait for a node's answer; beyond it
// they are lost, and who asked hears nothing.
const questionsMax = 64

// ErrAway says that a node is not connected to the log, so that it cannot be
// asked.
var ErrAway = errors.New("node is not connected to the purge log")

// Asker gives a function that asks a node and waits for its answer until ctx
// ends, which it must: ErrAway at once if the node cannot hear it.
func Asker(nc *nats.Conn) func(ctx context.Context, node string, question []byte) ([]byte, error) {
	return func(ctx context.Context, node string, question []byte) ([]byte, error) {
		m, err := nc.RequestWithContext(ctx, subjectAsk+token(node), question)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return nil, fmt.Errorf("ask %s: %w", node, ErrAway)
		case err != nil:
			return nil, fmt.Errorf("ask %s: %w", node, err)
		}
		return m.Data, nil
	}
}

// AnswerQuestions answers what a node is asked, one question after the other,
// until ctx ends; it then returns nil. It calls ready, if that is not nil, once
// it will miss none.
func AnswerQuestions(ctx context.Context, nc *nats.Conn, node string, answer func(question []byte) []byte, ready func()) error {
	questions := make(chan *nats.Msg, questionsMax)
	sub, err := nc.ChanSubscribe(subjectAsk+token(node), questions)
	if err != nil {
		return fmt.Errorf("answer questions: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if ready != nil {
		// Without a connection it is subscribed when there is one.
		_ = nc.FlushTimeout(dialTimeout)
		ready()
	}
	for {
		select {
		case m, open := <-questions:
			if !open {
				return fmt.Errorf("answer questions: %w", nats.ErrConnectionClosed)
			}
			// Who asked hears nothing while there is no connection.
			_ = m.Respond(answer(m.Data))
		case <-ctx.Done():
			return nil
		}
	}
}
