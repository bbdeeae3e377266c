package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	testPoPs    = []string{"ams", "iad"}
	testShields = []string{"shield-1", "shield-2"}
)

func scheduleOf(seed uint64, count int) (all []fault) {
	s := newSchedule(rand.New(rand.NewPCG(seed, scheduleStream)), testPoPs, testShields)
	for range count {
		all = append(all, s.next())
	}
	return all
}

// A seed has one schedule, in which nothing is broken twice at one time, and
// every kind of fault comes.
func TestSchedule(t *testing.T) {
	all := scheduleOf(7, 2000)
	if !slices.Equal(all, scheduleOf(7, 2000)) {
		t.Error("one seed gave two schedules")
	}
	if slices.Equal(all[:10], scheduleOf(8, 10)) {
		t.Error("two seeds gave one schedule")
	}
	kinds := make(map[kind]int)
	until := make(map[string]time.Duration)
	for i, f := range all {
		kinds[f.kind]++
		if i > 0 && f.from < all[i-1].from {
			t.Fatalf("%v at %v comes after %v at %v", f, f.from, all[i-1], all[i-1].from)
		}
		for _, thing := range f.takes() {
			if until[thing] > f.from {
				t.Fatalf("%v at %v, and %s is taken until %v", f, f.from, thing, until[thing])
			}
			until[thing] = f.from + f.lasts
		}
		if f.lasts <= 0 {
			t.Fatalf("%v lasts %v", f, f.lasts)
		}
	}
	for _, k := range []kind{killed, paused, restarted, ambushed, cornered, logCut, logSilent, logSlow, wayCut, waySilent, waySlow, originSlow, originBad, originDrop} {
		if kinds[k] == 0 {
			t.Errorf("no fault is %q", k)
		}
	}
}

// TestCause has one failed read at ams, and the faults that were in force.
func TestCause(t *testing.T) {
	for _, row := range []struct {
		failure failure
		lagging string
		faults  []fault
		want    string
	}{
		{brokenBody, "replaced", nil, "replaced between two blocks"},
		{refusal, "replaced", nil, ""},
		{noAnswer, "", nil, ""},
		{noAnswer, "", []fault{{kind: killed, node: "ams"}}, "ams killed"},
		{noAnswer, "", []fault{{kind: killed, node: "iad"}, {kind: killed, node: "shield-1"}, {kind: originBad}}, ""},
		{tooLate, "", []fault{{kind: paused, node: "ams"}}, "ams paused"},
		{tooLate, "", []fault{{kind: originSlow}, {kind: waySilent, node: "ams", peer: "shield-1"}}, ""},
		{refusal, "", []fault{{kind: originBad}}, "origin failing"},
		{refusal, "", []fault{{kind: originSlow}}, ""},
		{refusal, "", []fault{{kind: killed, node: "shield-1"}}, ""},
		{refusal, "", []fault{{kind: killed, node: "shield-1"}, {kind: wayCut, node: "ams", peer: "shield-2"}}, "no shield was there"},
		{refusal, "", []fault{{kind: killed, node: "shield-1"}, {kind: wayCut, node: "iad", peer: "shield-2"}}, ""},
		{refusal, "revalidate", []fault{{kind: logCut, node: "ams"}}, ""},
		{refusal, "refuse", []fault{{kind: logCut, node: "ams"}}, "ams log cut"},
		{refusal, "refuse", []fault{{kind: killed, node: "control"}}, "control killed"},
		{refusal, "refuse", []fault{{kind: logSilent, node: "shield-1"}}, ""},
		{refusal, "revalidate", []fault{{kind: cornered, node: "shield-1", peer: "shield-2"}}, ""},
		{refusal, "refuse", []fault{{kind: cornered, node: "shield-1", peer: "shield-2"}}, "every shield was cut off from the log"},
		{refusal, "refuse", []fault{{kind: logSilent, node: "shield-1"}, {kind: paused, node: "shield-2"}}, "every shield was cut off from the log"},
		{brokenBody, "", []fault{{kind: killed, node: "shield-1"}}, "shield-1 killed"},
		{brokenBody, "", []fault{{kind: wayCut, node: "iad", peer: "shield-1"}}, ""},
		{brokenBody, "", []fault{{kind: originDrop}}, "origin breaks up"},
		{unexpected, "", []fault{{kind: originBad}}, ""},
	} {
		w := &world{lagging: row.lagging, ledger: newLedger()}
		for _, name := range testShields {
			w.shields = append(w.shields, &child{name: name})
		}
		began := time.Now()
		for _, f := range row.faults {
			w.ledger.begin(f)
		}
		if got := w.cause(failed{pop: "ams", failure: row.failure, from: began, to: time.Now(), replaced: row.lagging == "replaced"}); got != row.want {
			t.Errorf("%s during %v: %q; want %q", row.failure, row.faults, got, row.want)
		}
	}
}

// A fault explains what began a moment after it, and not later.
func TestLedger(t *testing.T) {
	l := newLedger()
	e := l.begin(fault{kind: killed, node: "ams"})
	if l.now() != "ams killed" {
		t.Errorf("now: %s", l.now())
	}
	l.end(e)
	if l.now() != "none" {
		t.Errorf("now: %s", l.now())
	}
	for _, row := range []struct {
		from, to time.Duration // from the fault's end
		want     int
	}{{-time.Second, time.Second, 1}, {settleTime, time.Minute, 1}, {settleTime + 1, time.Minute, 0}, {-time.Hour, -time.Minute, 0}} {
		if got := l.during(e.ended.Add(row.from), e.ended.Add(row.to), settleTime); len(got) != row.want {
			t.Errorf("from %v to %v: %v", row.from, row.to, got)
		}
	}
}
