package purge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Limits of a page of the log.
const (
	pageDefault = 50
	pageMax     = 500 // versions that are looked at
	// listedTargetsMax is how many of a purge's targets are shown.
	listedTargetsMax = 10
)

var (
	errNoPurge = errors.New("no such purge")
	errUnread  = errors.New("purge log cannot be read")
)

// Entry is a purge as the API shows it.
type Entry struct {
	Version uint64 `json:"version"`
	Site    string `json:"site,omitempty"` // "" for every site
	Scope   Scope  `json:"scope"`
	// Targets are the first ten of TargetsCount.
	Targets      []string  `json:"targets,omitempty"`
	TargetsCount int       `json:"targets_count"`
	Mode         Mode      `json:"mode"`
	Who          string    `json:"who"`
	At           time.Time `json:"at"`
	// Key is the idempotency key, with the token's name and a slash before it.
	Key string `json:"idempotency_key,omitempty"`
}

func entryOf(r *Record) Entry {
	return Entry{
		Version: r.Version, Site: r.Site, Scope: r.Scope, Mode: r.Mode, Who: r.Who, At: r.At, Key: r.Key,
		Targets: slices.Clone(r.Targets[:min(len(r.Targets), listedTargetsMax)]), TargetsCount: len(r.Targets),
	}
}

// Page is a part of the log.
type Page struct {
	// Purges are in the order of the question: newest first, or after a version
	// upwards. Those of sites that are not the token's are left out.
	Purges []Entry `json:"purges"`
	// Newest is the newest version of the log, Oldest the oldest that it has.
	Newest uint64 `json:"newest"`
	Oldest uint64 `json:"oldest"`
	// Next is what "before" or "after" has to be for the next page; 0 where there
	// is nothing before. After the newest it is the newest: ask again later.
	Next uint64 `json:"next,omitempty"`
}

// pageQuery is what a call asks of the log.
type pageQuery struct {
	before, after uint64
	upwards       bool
	limit         uint64
}

func parsePage(r *http.Request) (q pageQuery, err error) {
	q.limit = pageDefault
	err = eachParameter(r, func(name, value string) error {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fieldError(clip(name), "must be a whole number")
		}
		switch name {
		case "before":
			q.before = n
		case "after":
			q.after, q.upwards = n, true
		case "limit":
			if q.limit = n; n < 1 || n > pageMax {
				return fieldError("limit", "must be from 1 to %d", pageMax)
			}
		default:
			return fieldError(clip(name), "unknown parameter: there are before, after and limit")
		}
		return nil
	})
	if err == nil && q.upwards && q.before > 0 {
		err = fieldError("after", "given besides before: a page goes one way")
	}
	return q, err
}

// span gives the versions to look at, first and last; 0 where there are none.
func (q *pageQuery) span(log LogState) (first, last uint64) {
	if log.First > log.Last {
		return 0, 0
	}
	if q.upwards {
		if q.after >= log.Last {
			return 0, 0
		}
		first = max(q.after+1, log.First)
		return first, min(log.Last, first+q.limit-1)
	}
	first = log.Last
	if q.before > 0 {
		first = min(first, q.before-1)
	}
	if first < log.First {
		return 0, 0
	}
	return first, max(log.First, first-min(first-1, q.limit-1))
}

// list answers GET /v1/purges?before=V&limit=50, newest first, and ?after=V,
// upwards: who purged what and when. Each page looks at a bounded number of
// versions, so that one can be short without being the last.
func (a *API) list(c *call) {
	q, err := parsePage(c.request)
	if err != nil {
		c.refuse(err)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, a.AppendTimeout)
	defer cancel()
	page, err := a.page(ctx, c, &q)
	if err != nil {
		c.refuse(err)
		return
	}
	c.reply(http.StatusOK, page)
}

func (a *API) page(ctx context.Context, c *call, q *pageQuery) (Page, error) {
	state, err := a.History.State(ctx)
	if err != nil {
		return Page{}, fmt.Errorf("%w: %w", errUnread, err)
	}
	page := Page{Purges: []Entry{}, Newest: state.Last, Oldest: state.First}
	first, last := q.span(state)
	if first == 0 {
		if q.upwards {
			page.Next = max(q.after, state.Last)
		}
		return page, nil
	}
	err = a.History.Scan(ctx, first, last, func(r Record) bool {
		if c.holder.maySite(r.Site) {
			page.Purges = append(page.Purges, entryOf(&r))
		}
		return true
	})
	if err != nil {
		return page, fmt.Errorf("%w: %w", errUnread, err)
	}
	if q.upwards || last > state.First {
		page.Next = last
	}
	return page, nil
}

// find reads one record.
func (a *API) find(ctx context.Context, version uint64) (found Record, err error) {
	err = a.History.Scan(ctx, version, version, func(r Record) bool {
		found = r
		return true
	})
	switch {
	case err != nil:
		return found, fmt.Errorf("%w: %w", errUnread, err)
	case found.Version == 0:
		return found, fmt.Errorf("%w: the log has no version %d, or has it no longer", errNoPurge, version)
	}
	return found, nil
}

// Progress is a purge and how far it has come.
type Progress struct {
	Entry
	Nodes []NodeReceipt `json:"nodes"`
	// Missing are the nodes that were waited for and have not applied it, and
	// Error says so.
	Missing []string `json:"missing,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// show answers GET /v1/purges/N with the purge, and for each node whether it has
// applied it, how many milliseconds after it was accepted, and by how many
// versions it is behind the newest. It waits as a POST does.
func (a *API) show(c *call, text string) {
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil || version == 0 {
		c.refuse(fmt.Errorf("%w: %q is not a version", errNoPurge, clip(text)))
		return
	}
	if c.wait, err = a.parseWait(c.request); err != nil {
		c.refuse(err)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, a.AppendTimeout)
	defer cancel()
	if c.record, err = a.find(ctx, version); err == nil && !c.holder.maySite(c.record.Site) {
		err = fmt.Errorf("%w: see purges of other sites", errForbidden)
	}
	switch {
	case err != nil:
		c.refuse(err)
	case c.wait.given() && c.wait.lines:
		a.awaitLines(c)
	default:
		a.progress(c)
	}
}

func (a *API) progress(c *call) {
	status, body := http.StatusOK, Progress{Entry: entryOf(&c.record)}
	if c.wait.given() {
		waited := a.result(c, func(Receipt) {})
		status, body.Missing, body.Error = waited.status(), waited.Missing, waited.Error
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), a.AppendTimeout)
	defer cancel()
	state, err := a.History.State(ctx)
	if err != nil {
		c.refuse(fmt.Errorf("%w: %w", errUnread, err))
		return
	}
	body.Nodes = a.Nodes.Receipts(c.record.Version, state.Last)
	c.reply(status, body)
}
