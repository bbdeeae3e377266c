package explain

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir/cache"
)

// Sentence says in plain words what a request now would get from the node, and
// why: "ams: hit from memory, fresh for 41 s".
func (r NodeResult) Sentence() string { return r.Node + ": " + r.words() }

func (r NodeResult) words() string {
	x := r.Explanation
	if x == nil {
		return r.Error
	}
	if x.Stored != nil && len(x.Stored.Tiers) > 0 {
		if text := storedWords(x); text != "" {
			return text
		}
	}
	switch x.Reason {
	case cache.ReasonAbsent.String():
		return "miss, nothing is stored: " + fetched(x, "", "would be fetched")
	case cache.ReasonVariant.String():
		return fmt.Sprintf("miss, other variants are stored (Vary: %s): %s", strings.Join(x.Vary, ", "), fetched(x, "", "would be fetched"))
	case cache.ReasonUncacheable.String(), cache.ReasonHitForMiss.String():
		verdict := ""
		if x.Verdict != "" {
			verdict = " (" + x.Verdict + ")"
		}
		return fmt.Sprintf("pass, the last response could not be shared%s, which is remembered for %s", verdict, span(x.UnsharedSeconds))
	case cache.ReasonTooLarge.String():
		return fmt.Sprintf("pass, the store did not take the last body, which is remembered for %s", span(x.UnsharedSeconds))
	case cache.ReasonFillsMax.String():
		return "pass, as many fills run as may"
	case cache.ReasonOnlyIfCached.String():
		return "error 504, nothing usable is stored and the request wants nothing else"
	}
	return fmt.Sprintf("%s (%s)", x.Outcome, x.Reason)
}

// storedWords are about what is stored; "" where the reason is not about that.
func storedWords(x *cache.Explanation) string {
	tier := x.Stored.Tiers[0]
	switch x.Reason {
	case cache.ReasonFresh.String():
		return fmt.Sprintf("hit from %s, fresh for %s", tier, span(x.Stored.FreshSeconds))
	case cache.ReasonStaleWhileRevalidate.String():
		return fmt.Sprintf("%s, would be answered from %s and revalidated behind", staleness(x), tier)
	case cache.ReasonExpired.String():
		if x.Stored.MissingFrom != nil {
			return fmt.Sprintf("%s, and not stored from byte %d on: %s", staleness(x), *x.Stored.MissingFrom, fetched(x, "", "would be fetched"))
		}
		return staleness(x) + ", " + fetched(x, "would be revalidated", "would be fetched again, having no validator")
	case cache.ReasonPartial.String():
		if x.Stored.MissingFrom == nil {
			return ""
		}
		return fmt.Sprintf("%s, stored in part and not from byte %d on: %s", x.Outcome, *x.Stored.MissingFrom, fetched(x, "", "would be fetched"))
	case cache.ReasonPurged.String():
		return fmt.Sprintf("miss, hard purge %d covers what is stored: %s", x.Stored.HardPurge, fetched(x, "", "would be fetched"))
	}
	return ""
}

// staleness says why what is stored may not be used as it is.
func staleness(x *cache.Explanation) string {
	o := x.Stored
	switch {
	case !x.Trusted:
		return "stored, but the node has lost the purge log"
	case o.SoftPurge > 0:
		return fmt.Sprintf("stale by soft purge %d", o.SoftPurge)
	case o.GroupsInvalid:
		return "stored, but one of its groups was made invalid"
	case o.NoCache:
		return "stored with no-cache"
	case o.FreshSeconds > 0:
		return fmt.Sprintf("fresh for %s, but the request wants validation", span(o.FreshSeconds))
	}
	return "stale since " + span(-o.FreshSeconds)
}

// fetched says how upstream would be asked: by a fill that runs, by one that
// validates, or by one that fetches.
func fetched(x *cache.Explanation, validated, anew string) string {
	text := anew
	if x.Outcome == cache.OutcomeRevalidated.String() {
		text = validated
	}
	if x.Fill != nil && x.Fill.Joins {
		text += fmt.Sprintf(", by the fill that has run for %s", span(x.Fill.AgeSeconds))
	}
	return text
}

// span gives seconds in the largest whole unit that says enough: "0.2 s", "41 s",
// "12 min", "3 h", "9 d".
func span(seconds float64) string {
	seconds = math.Abs(seconds) // there is a negative zero
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"d", 86400}, {"h", 3600}, {"min", 60}} {
		if seconds >= 2*unit.seconds && seconds >= 600 {
			return strconv.FormatFloat(math.Floor(seconds/unit.seconds), 'f', 0, 64) + " " + unit.name
		}
	}
	if seconds < 10 {
		return strconv.FormatFloat(math.Floor(seconds*10)/10, 'f', -1, 64) + " s"
	}
	return strconv.FormatFloat(math.Floor(seconds), 'f', 0, 64) + " s"
}
