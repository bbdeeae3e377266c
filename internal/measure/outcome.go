package measure

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"

	"weir/cache"
	"weir/cache/rfc9111"
)

// unknownName stands where a response does not say how it ended.
const unknownName = "unknown"

// refusedName is the detail, and our name, of a request that the PoP turned
// away before its cache.
const refusedName = "refused"

// outcome says how a request ended in the PoP.
type outcome struct {
	// name is a cache.Outcome's name, "refused" or "unknown".
	name string
	// tier is the store that a hit was read from, or "".
	tier string
	// status is the response's.
	status int
}

// String gives name and tier, like "hit memory", and a status that is not 200.
func (o outcome) String() string {
	text := o.name
	if o.tier != "" {
		text += " " + o.tier
	}
	if o.status != http.StatusOK && o.status != 0 {
		text += fmt.Sprintf(" (status %d)", o.status)
	}
	return text
}

// Outcome says how a request ended in the PoP that answered with these lines of
// Cache-Status, like "hit memory".
func Outcome(lines []string) string { return outcomeOf(lines).String() }

// outcomeOf reads a Cache-Status field. The last member is that of the cache
// nearest to the client, which is the PoP (RFC 9211 section 2).
func outcomeOf(lines []string) outcome {
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil || len(list) == 0 {
		return outcome{name: unknownName}
	}
	item, ok := list[len(list)-1].(httpsfv.Item)
	if !ok {
		return outcome{name: unknownName}
	}
	detail := text(item.Params, "detail")
	switch {
	case flag(item.Params, "hit"):
		return hitOutcome(detail)
	case text(item.Params, "fwd") != "":
		return outcome{name: forwarded(item.Params, detail).String()}
	case detail == refusedName:
		return outcome{name: refusedName}
	default:
		return outcome{name: unknownName}
	}
}

// hitOutcome tells a fresh answer from a stale one: the detail of the first is
// a tier, that of the second the reason.
func hitOutcome(detail string) outcome {
	if strings.HasPrefix(detail, "stale") {
		return outcome{name: cache.OutcomeStale.String()}
	}
	return outcome{name: cache.OutcomeHit.String(), tier: detail}
}

// forwarded says how a request ended that went on towards the origin (RFC 9211
// section 2.2): what was stored of it was a miss, and what was not stored but
// had been before was answered from the store after all.
func forwarded(params *httpsfv.Params, detail string) cache.Outcome {
	switch {
	case flag(params, "stored"):
		return cache.OutcomeMiss
	case detail == cache.ReasonStaleIfError.String():
		return cache.OutcomeStale
	case detail == cache.ReasonUpstream.String(), detail == cache.ReasonOnlyIfCached.String():
		return cache.OutcomeError
	case text(params, "fwd") == rfc9111.FwdStale && detail == "":
		return cache.OutcomeRevalidated
	default:
		return cache.OutcomePass
	}
}

// flag says whether a parameter is there and true.
func flag(params *httpsfv.Params, name string) bool {
	value, _ := params.Get(name)
	set, _ := value.(bool)
	return set
}

// text gives a parameter that is a token or a string, or "".
func text(params *httpsfv.Params, name string) string {
	value, _ := params.Get(name)
	switch v := value.(type) {
	case httpsfv.Token:
		return string(v)
	case string:
		return v
	default:
		return ""
	}
}
