package natslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// Control asks nodes, and nodes ask control, over the connections that they have
// to the log anyway: nobody has to know another's address, nor be let in there. A
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
		answer, err := request(ctx, nc, subjectAsk+token(node), question)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", node, err)
		}
		return answer, nil
	}
}

// request waits for an answer; ErrAway if nobody hears the question.
func request(ctx context.Context, nc *nats.Conn, subject string, question []byte) ([]byte, error) {
	m, err := nc.RequestWithContext(ctx, subject, question)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrAway
	}
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// answersMax bounds the questions that AnswerCalls answers at once.
const answersMax = 32

// AnswerQuestions answers what a node is asked, one question after the other,
// until ctx ends; it then returns nil. It calls ready, if that is not nil, once
// it will miss none.
func AnswerQuestions(ctx context.Context, nc *nats.Conn, node string, answer func(question []byte) []byte, ready func()) error {
	return listen(ctx, nc, "answer questions", subjectAsk+token(node), questionsMax, ready, func(m *nats.Msg) { respond(m, answer) })
}

// AnswerCalls is AnswerQuestions for answers that wait for something: several are
// given at once. It returns when the last of them has been.
func AnswerCalls(ctx context.Context, nc *nats.Conn, node string, answer func(question []byte) []byte, ready func()) error {
	var answers errgroup.Group
	answers.SetLimit(answersMax)
	err := listen(ctx, nc, "answer questions", subjectAsk+token(node), questionsMax, ready, func(m *nats.Msg) {
		answers.Go(func() error {
			respond(m, answer)
			return nil
		})
	})
	return errors.Join(err, answers.Wait())
}

func respond(m *nats.Msg, answer func(question []byte) []byte) {
	// Who asked hears nothing while there is no connection.
	_ = m.Respond(answer(m.Data))
}
