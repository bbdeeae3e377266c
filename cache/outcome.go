package cache

// Outcome says how a request ended.
type Outcome uint8

// The outcomes.
const (
	OutcomeError       Outcome = iota // upstream gave nothing and the store had nothing to use
	OutcomeHit                        // answered from a fresh stored object
	OutcomeStale                      // answered from a stored object that is no longer fresh
	OutcomeRevalidated                // answered from a stored object that upstream has just confirmed
	OutcomeMiss                       // answered from a fill
	OutcomePass                       // answered by upstream, past the store
)

// Outcomes lists every outcome, for metrics that want all series from the start.
var Outcomes = [...]Outcome{OutcomeError, OutcomeHit, OutcomeStale, OutcomeRevalidated, OutcomeMiss, OutcomePass}

// String gives the outcome's one name.
func (o Outcome) String() string {
	switch o {
	case OutcomeHit:
		return "hit"
	case OutcomeStale:
		return "stale"
	case OutcomeRevalidated:
		return "revalidated"
	case OutcomeMiss:
		return "miss"
	case OutcomePass:
		return "pass"
	default:
		return "error"
	}
}

// Reason says why a request ended as it did.
type Reason uint8

// The reasons.
const (
	ReasonNone                 Reason = iota
	ReasonFresh                       // hit: within its lifetime
	ReasonStaleWhileRevalidate        // stale: a fill is refreshing it behind this answer
	ReasonStaleIfError                // stale: upstream failed
	ReasonAbsent                      // miss: nothing stored under the key
	ReasonVariant                     // miss: stored, but not the variant that Vary asks for
	ReasonExpired                     // miss or revalidated: what is stored had to be validated
	ReasonPurged                      // miss: a purge covers what is stored
	ReasonPartial                     // miss or pass: some of the bytes wanted are not stored
	ReasonMethod                      // pass: the method is not looked up
	ReasonBypass                      // pass: the caller asked for upstream's own answer
	ReasonUncacheable                 // pass: the response may not be stored, see Answer.Verdict
	ReasonHitForMiss                  // pass: a response for this key proved unfit to be shared a while ago
	ReasonTooLarge                    // pass: the store does not take a body of this size
	ReasonUnsettled                   // pass: what is stored changed again and again while the request looked
	ReasonWait                        // pass: the fill's headers did not arrive within FillWait
	ReasonFillsMax                    // pass: too many fills run already
	ReasonRequestNoStore              // pass: the request says no-store, so that no fill may be its own
	ReasonOnlyIfCached                // error: the client wanted a stored response or none
	ReasonUntrusted                   // error: the node has lost the purge log for too long, see Options.RefuseUntrusted
	ReasonUpstream                    // error: see the error
)

// String gives the reason's one name.
func (r Reason) String() string {
	names := [...]string{
		ReasonNone: "none", ReasonFresh: "fresh",
		ReasonStaleWhileRevalidate: "stale-while-revalidate", ReasonStaleIfError: "stale-if-error",
		ReasonAbsent: "absent", ReasonVariant: "variant", ReasonExpired: "expired", ReasonPurged: "purged", ReasonPartial: "partial",
		ReasonMethod: "method", ReasonBypass: "bypass", ReasonUncacheable: "uncacheable", ReasonHitForMiss: "hit-for-miss", ReasonTooLarge: "too-large",
		ReasonUnsettled: "unsettled", ReasonWait: "wait", ReasonFillsMax: "fills-max", ReasonRequestNoStore: "request-no-store",
		ReasonOnlyIfCached: "only-if-cached", ReasonUntrusted: "untrusted", ReasonUpstream: "upstream",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}
