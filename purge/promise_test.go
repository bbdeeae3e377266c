package purge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

// modelCache is the least that a node can be: it stores what the origin said
// under the stamp of when it began to ask, and asks Covering on every hit, as
// the engine does.
type modelCache struct {
	mu      sync.Mutex
	objects map[string]modelObject
	epoch   int // counts drops: a fill that began before one is not stored
}

type modelObject struct {
	value int
	stamp uint64
}

// get answers a request for target; slow is how long the origin takes.
func (c *modelCache) get(index *purge.Index, target string, origin func(string) int, slow time.Duration) int {
	c.mu.Lock()
	o, stored := c.objects[target]
	epoch := c.epoch
	c.mu.Unlock()
	if stored && index.Trusted(time.Now()) {
		if hard, _ := index.Covering("docs", "h", target, nil); hard <= o.stamp {
			return o.value
		}
	}
	stamp := index.Applied()
	value := origin(target)
	time.Sleep(slow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch {
		c.objects[target] = modelObject{value, stamp}
	}
	return value
}

func (c *modelCache) drop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects = make(map[string]modelObject)
	c.epoch++
	return nil
}

// P1 from log to node: writers change the origin and purge, links lose, delay
// and are cut, nodes restart, and no request that begins after a node's receipt
// for a purge is answered with what was before it.
func TestNoResurrection(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { noResurrection(t, rand.New(rand.NewPCG(seed, 3))) })
		})
	}
}

// world is an origin, a log, and three nodes that cache.
type world struct {
	t       *testing.T
	r       *rand.Rand
	log     *memlog.Log
	names   []string
	nodes   *purge.Nodes
	cluster []*node
	caches  []*modelCache
	readers sync.WaitGroup

	mu      sync.Mutex // guards content
	content map[string]int
}

func noResurrection(t *testing.T, r *rand.Rand) {
	w := &world{t: t, r: r, log: memlog.New("e"), names: []string{"ams", "lax", "nrt"}, content: make(map[string]int)}
	w.nodes = purge.NewNodes(purge.NodesOptions{Names: w.names, Epoch: "e"})
	for _, name := range w.names {
		n, c := newNode(t, name, w.log, w.nodes.Observe), &modelCache{objects: make(map[string]modelObject)}
		n.reset = c.drop
		n.start()
		w.cluster, w.caches = append(w.cluster, n), append(w.caches, c)
	}
	for range 120 {
		w.step()
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
	}
	w.readers.Wait()
	w.settle()
}

// step lets one thing happen.
func (w *world) step() {
	i, target := w.r.IntN(len(w.cluster)), []string{"/a", "/b", "/c/d", "/v1/d", "/v2/d"}[w.r.IntN(5)]
	n := w.cluster[i]
	switch w.r.IntN(8) {
	case 0:
		n.link.Partition(w.r.IntN(2) == 0)
	case 1:
		n.link.Delay(time.Duration(w.r.IntN(300)) * time.Millisecond)
	case 2:
		n.link.Drop(w.r.IntN(2))
	case 3:
		n.stop()
		n.start()
	case 4, 5:
		w.read(i, target, 0)
	default:
		w.write(target)
	}
}

// write changes a target at the origin and purges it, and reads it from every
// node that has confirmed within a second.
func (w *world) write(target string) {
	w.mu.Lock()
	w.content[target]++
	least := w.content[target]
	w.mu.Unlock()
	v, err := w.log.Append(w.t.Context(), w.covering(target))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	confirmed, _ := w.nodes.Wait(ctx, v, nil)
	for _, receipt := range confirmed {
		w.read(slices.Index(w.names, receipt.Node), target, least)
	}
}

// covering makes a purge that covers a target: of a prefix, or of an asset of
// which another version is current.
func (w *world) covering(target string) purge.Record {
	if current := map[string]string{"/v1/d": "/v2/d", "/v2/d": "/v1/d"}[target]; current != "" {
		return asset(0, purge.ModeHard, current)
	}
	return rec(0, purge.ScopePrefix, purge.ModeHard, target[:1+w.r.IntN(len(target))])
}

// read asks a node now, beside everything else, and wants at least a value.
func (w *world) read(i int, target string, least int) {
	slow := time.Duration(w.r.IntN(400)) * time.Millisecond
	index := w.cluster[i].index
	w.readers.Go(func() {
		if got := w.caches[i].get(index, target, w.origin, slow); got < least {
			w.t.Errorf("%s answers %s with %d, which is older than the purge it confirmed: %d", w.names[i], target, got, least)
		}
	})
}

func (w *world) origin(target string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.content[target]
}

// settle mends everything and wants every node to answer with what is new.
func (w *world) settle() {
	for _, n := range w.cluster {
		n.link.Partition(false)
	}
	time.Sleep(30 * time.Second)
	for i, n := range w.cluster {
		if err := n.Healthy(); err != nil {
			w.t.Errorf("%s has not recovered: %v", w.names[i], err)
		}
		for target, value := range w.content {
			if got := w.caches[i].get(n.index, target, w.origin, 0); got != value {
				w.t.Errorf("%s ends with %s at %d, want %d", w.names[i], target, got, value)
			}
		}
		n.stop()
	}
}
