package purgecli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"weir/cache"
	"weir/internal/explain"
	"weir/purge"
)

// ErrUnproven says that after a purge some node had, or may have had, what it
// was to forget.
var ErrUnproven = errors.New("purge is not proven")

// verifyMax bounds the URLs that are asked for.
const verifyMax = 100

// verification asks every node for the purged URLs, before the purge and after
// it, over the connections that they have to the log.
type verification struct {
	client explain.Client
	urls   []string
	before []explain.Result
}

// verify prepares the proof; nil where none is wanted.
func (o *Options) verify() (*verification, error) {
	switch {
	case !o.Verify:
		return nil, nil
	case o.Scope != purge.ScopeURL:
		return nil, fmt.Errorf("--verify is for purges of URLs: scope %s names none to ask for", o.Scope)
	case !o.Wait:
		return nil, errors.New("--verify needs to wait for the nodes: leave out --no-wait")
	case o.JSON:
		return nil, errors.New("--verify prints lines: leave out --json, or ask GET /v1/explain yourself")
	case len(o.Targets) > verifyMax:
		return nil, fmt.Errorf("--verify asks for at most %d URLs", verifyMax)
	}
	v := &verification{client: explain.Client{URL: o.Client.URL, Token: o.Client.Token, HTTP: o.Client.HTTP}}
	for _, t := range o.Targets {
		if strings.HasPrefix(t, "/") {
			if o.Base == "" {
				return nil, fmt.Errorf("--verify needs whole URLs: %.128q has no host", t)
			}
			t = strings.TrimSuffix(o.Base, "/") + t
		}
		v.urls = append(v.urls, t)
	}
	return v, nil
}

// look asks all nodes for all URLs.
func (v *verification) look(ctx context.Context) ([]explain.Result, error) {
	results := make([]explain.Result, len(v.urls))
	for i, u := range v.urls {
		var err error
		if results[i], err = v.client.Explain(ctx, explain.Query{URL: u}); err != nil {
			return nil, fmt.Errorf("verify %.128q: %w", u, err)
		}
	}
	return results, nil
}

// prove asks again and prints what each node had and has.
func (v *verification) prove(ctx context.Context, version uint64, w io.Writer) error {
	after, err := v.look(ctx)
	if err != nil {
		return err
	}
	var unproven []string
	for i, u := range v.urls {
		if _, err := fmt.Fprintf(w, "\n%s\n", u); err != nil {
			return err
		}
		for j := range after[i].Nodes {
			had, has := v.before[i].Find(after[i].Nodes[j].Node), &after[i].Nodes[j]
			text, proven := proof(has, version)
			if !proven {
				unproven = append(unproven, has.Node)
			}
			if _, err := fmt.Fprintf(w, "%-*s  had %s, %s\n", nameColumn, has.Node, describeStored(had), text); err != nil {
				return err
			}
		}
	}
	if len(unproven) > 0 {
		return fmt.Errorf("%w on %s", ErrUnproven, strings.Join(unproven, ", "))
	}
	_, err = fmt.Fprintf(w, "\nproven: no node answers from before purge %d\n", version)
	return err
}

// proof says what a node would do with what it has, and whether that is the
// proof that a purge is in force there.
func proof(n *explain.NodeResult, version uint64) (text string, proven bool) {
	switch {
	case n.Explanation == nil:
		return "and cannot be asked: " + n.Error, false
	case n.Stored == nil:
		return "has nothing now", true
	case n.Stored.HardPurge >= version:
		return fmt.Sprintf("which hard purge %d covers: it would be fetched", n.Stored.HardPurge), true
	case n.Stored.SoftPurge >= version:
		return fmt.Sprintf("which soft purge %d makes stale", n.Stored.SoftPurge), true
	}
	epoch, stamp, ok := cache.ParseVersion(n.Stored.Stamp)
	own, _, known := cache.ParseVersion(n.Applied)
	if ok && known && epoch == own && stamp >= version {
		return "has fetched " + describeStored(n) + " since", true
	}
	return "AND STILL HAS " + describeStored(n), false
}

// describeStored names what a node has by its entity tag and stamp.
func describeStored(n *explain.NodeResult) string {
	if n == nil || n.Explanation == nil || n.Stored == nil {
		return "nothing"
	}
	name := n.Stored.ETag
	if name == "" {
		name = fmt.Sprintf("%d bytes without ETag", max(n.Stored.BodyBytes, n.Stored.WholeBytes))
	}
	_, stamp, _ := cache.ParseVersion(n.Stored.Stamp)
	return fmt.Sprintf("%s of stamp %d", printable(name), stamp)
}

// printable keeps what an origin chose from moving a terminal's cursor.
func printable(text string) string {
	if quoted := fmt.Sprintf("%q", text); strings.Contains(strings.ReplaceAll(quoted, `\"`, ""), `\`) {
		return quoted
	}
	return text
}
