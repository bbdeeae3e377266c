package shield

import (
	"context"
	"net/http"
	"time"

	"weir/cache"
)

const (
	// stepWaitMax is how long an answer waits for this node to apply a purge that
	// the shield had applied.
	stepWaitMax = 250 * time.Millisecond
	// stepRest is how long none waits after one that has waited in vain: this node
	// is cut off from the log.
	stepRest = 5 * time.Second
)

// keepStep holds an answer back that is from after a purge which this node has not
// applied yet, until it has:
//
//	the shield applies purge 7, which covers /page and /style, and fetches /page
//	  the answer is here before purge 7 is
//	a client gets the new /page, and the /style that is stored here, which is old
//
// A purge and an answer come about as far, so this is mostly no wait at all. What
// is stored of the answer has the stamp of when it was asked for, as ever: this is
// about what one client sees, and no promise needs it.
func (c *Client) keepStep(ctx context.Context, h http.Header) {
	if c.o.WaitPosition == nil {
		return
	}
	epoch, stamp, ok := cache.ParseVersion(h.Get(cache.StampField))
	if own, applied := c.o.Position(); !ok || epoch != own || stamp <= applied {
		return
	}
	if time.Now().UnixNano() < c.restUntil.Load() {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, stepWaitMax)
	defer cancel()
	if c.o.WaitPosition(waiting, epoch, stamp) != nil && ctx.Err() == nil {
		c.restUntil.Store(time.Now().Add(stepRest).UnixNano())
	}
}
