package scenario

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
)

// Simulate plays the script that seed draws, and fails t with the script where
// a reader saw what a purge had taken back, or an answer mixed two versions.
func Simulate(t *testing.T, seed uint64) {
	t.Helper()
	g := generate(seed)
	if err := simulate(t, g); err != nil {
		t.Errorf("seed %d: %v\nthe script, for a file in testdata/scenarios:\n%s", seed, err, g.text())
	}
}

// simulate plays a generated script and gives what its history has against it.
func simulate(t *testing.T, g *generated) (broken error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &script{dir: t.TempDir(), began: time.Now(), exchanges: make(map[string]*exchange)}
		defer func() {
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}()
		h := observe(g)
		for i := range g.steps {
			if broken = s.step(t, h, &g.steps[i]); broken != nil {
				broken = fmt.Errorf("step %d, %q: %w", i+1, g.steps[i].line, broken)
				return
			}
		}
	})
	return broken
}

// step plays one command and tells the history of it.
func (s *script) step(t *testing.T, h *observed, now *step) error {
	d := &datadriven.TestData{Input: now.input}
	var err error
	if d.Cmd, d.CmdArgs, err = datadriven.ParseLine(now.line); err != nil {
		return err
	}
	r := now.read
	var x *exchange
	switch {
	case r != nil && r.ends:
		x = s.exchanges[r.name]
	case r != nil:
		h.begins(r, time.Now())
	}
	answer := s.run(t, d)
	now.output = answer
	switch {
	case x != nil:
		return h.ends(r.name, x)
	case now.write != nil:
		h.written(now.write, time.Now())
	case now.purge != nil:
		return h.purged(now.purge, answer, time.Now())
	}
	return nil
}
