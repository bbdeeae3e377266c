package scenario

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// generated is a script that a seed has drawn: who writes, purges, reads and
// breaks what, and when. It is a script like any other, so that one that found
// something can be played, shortened and kept.
type generated struct {
	rand  *rand.Rand
	steps []step

	jumps   bool // clocks are set while the script runs
	serves  bool // nodes that are cut off from the log go on serving
	shields []string
	value   map[string]int // what each path of the origin says now
	// lifetime is that of what each path says.
	lifetime map[string]time.Duration
	reads    int
	purges   int      // asked for; the log may have refused some
	pending  []string // reads that are on their way
	broken   map[string]string
}

// step is one command, and what the history has to know of it.
type step struct {
	line, input string
	output      string // once it has been played

	purge *purgeStep
	read  *readStep
	write *writeStep
}

// writeStep is what the origin says of a path from now on, and for how long.
type writeStep struct {
	path     string
	value    int
	lifetime time.Duration
}

// purgeStep is a purge: what it covers, and what the origin said by then.
type purgeStep struct {
	what   string // the command
	soft   bool
	values map[string]int
}

// readStep begins or ends a read.
type readStep struct {
	name, pop, path string
	ends            bool
}

// The world of a generated script. The bodies are four lines of 16 bytes, each
// with the path's value, and blocks are of one line or two: an answer that mixes
// values shows it.
const (
	simulatedMaxLag   = 10 * time.Second
	simulatedLateness = 3 * time.Second // of deliveries, at most
	simulatedSteps    = 60
)

var (
	simulatedPoPs    = []string{"ams", "iad"}
	simulatedShields = []string{shieldName, "second"}
	simulatedPaths   = []string{"/a/1", "/a/2", "/b"}
	simulatedTags    = map[string]string{"/a/1": "t1", "/a/2": "t2", "/b": "t2"}
)

// generate draws a script.
func generate(seed uint64) *generated {
	g := &generated{rand: rand.New(rand.NewPCG(seed, 1)), value: make(map[string]int), lifetime: make(map[string]time.Duration), broken: make(map[string]string)}
	lagging := pick(g, "revalidate", "revalidate", "serve", "refuse")
	g.serves = lagging == "serve"
	g.shields = pick(g, simulatedShields[:1], simulatedShields)
	g.add("cluster shields=(%s) pops=(ams,iad) max_lag=%v when_lagging=%s swr=%v sie=%v block=%d%s", strings.Join(g.shields, ","), simulatedMaxLag, lagging,
		pick(g, 0*time.Second, 20*time.Second), pick(g, 0*time.Second, time.Minute), pick(g, 16, 32), pick(g, "", " snapshots"))
	g.skew()
	for _, path := range simulatedPaths {
		g.write(path)
	}
	for range simulatedSteps {
		g.any()
	}
	g.mend()
	return g
}

// text is the script as a file.
func (g *generated) text() string {
	var b strings.Builder
	for _, s := range g.steps {
		fmt.Fprintln(&b, s.line)
		if s.input != "" {
			fmt.Fprintln(&b, s.input)
		}
		fmt.Fprintf(&b, "----\n%s\n", s.output)
	}
	return b.String()
}

func pick[T any](g *generated, from ...T) T { return from[g.rand.IntN(len(from))] }

func (g *generated) chance(of int) bool { return g.rand.IntN(of) == 0 }

func (g *generated) add(format string, args ...any) *step {
	g.steps = append(g.steps, step{line: fmt.Sprintf(format, args...)})
	return &g.steps[len(g.steps)-1]
}

// any adds what comes next.
func (g *generated) any() {
	switch n := g.rand.IntN(21); {
	case n == 20:
		g.linger(pick(g, simulatedPaths...))
	case n < 3:
		g.write(pick(g, simulatedPaths...))
	case n < 6:
		path := pick(g, simulatedPaths...)
		g.write(path)
		g.purge(path)
		if g.chance(6) {
			g.ambush(path)
		}
		if g.chance(8) {
			g.sweep(path)
		}
	case n < 13:
		g.read()
	case n < 15:
		g.finish()
	case n < 17:
		g.add("sleep %v", pick(g, time.Millisecond, 500*time.Millisecond, 4*time.Second, 15*time.Second, 70*time.Second))
	default:
		g.trouble()
	}
}

// skew makes some nodes' clocks wrong: from the start, which nothing may depend on,
// or again and again while the script runs, on which lifetimes do depend.
func (g *generated) skew() {
	g.jumps = g.chance(4)
	for _, node := range slices.Concat(g.shields, simulatedPoPs) {
		if g.chance(2) {
			g.clock(node)
		}
	}
}

func (g *generated) clock(node string) {
	g.add("clock %s by=%v", node, time.Duration(g.rand.Int64N(int64(20*time.Minute/time.Second))-600)*time.Second)
}

// write gives a path of the origin its next value, and the origin some manner
// of telling it.
func (g *generated) write(path string) {
	g.value[path]++
	line := "origin path=" + path
	for _, manner := range []struct {
		of    int
		words []string
	}{
		{2, []string{"ranges"}}, {8, []string{"chunked"}}, {3, []string{"delay=100ms", "delay=3s", "delay=8s"}},
		{4, []string{"pause=3s"}}, {12, []string{"drop"}}, {12, []string{"no304"}},
	} {
		if g.chance(manner.of) {
			line += " " + pick(g, manner.words...)
		}
	}
	w := &writeStep{path, g.value[path], pick(g, time.Minute, 10*time.Minute, 10*time.Minute, 0, 5*time.Second)}
	g.lifetime[path] = w.lifetime
	control := fmt.Sprintf("max-age=%d", w.lifetime/time.Second)
	if w.lifetime == 0 {
		control = "no-cache"
	}
	fields := []string{"Surrogate-Key: " + simulatedTags[path], "Cache-Control: " + control}
	if !g.chance(6) {
		fields = append(fields, fmt.Sprintf("ETag: %q", fmt.Sprint("v", g.value[path])))
	}
	if g.chance(6) {
		// The origin's clock is an hour behind the nodes', or ahead of them.
		fields = append(fields, "Date: "+pick(g, "Fri, 31 Dec 1999 23:00:00 GMT", "Sat, 01 Jan 2000 01:00:00 GMT"))
	}
	if g.chance(6) {
		fields = append(fields, "Vary: X-Kind")
	}
	body := strings.Repeat(fmt.Sprintf("%015d\n", g.value[path]), 4)
	s := g.add("%s", line)
	s.input, s.write = strings.Join(fields, "\n")+"\n\n"+strings.TrimSuffix(body, "\n"), w
}

// purge covers a path in one of the ways that there are.
func (g *generated) purge(path string) {
	scope, target := "url", path
	switch g.rand.IntN(6) {
	case 0:
		scope, target = "prefix", path[:2]
	case 1:
		scope, target = "tag", simulatedTags[path]
	case 2:
		scope, target = "host", siteHost
	case 3:
		scope, target = "all", ""
	}
	p := &purgeStep{soft: g.chance(4), values: make(map[string]int)}
	for _, other := range simulatedPaths {
		if scope == "all" || scope == "host" || other == path || scope == "prefix" && strings.HasPrefix(other, target) ||
			scope == "tag" && simulatedTags[other] == target {
			p.values[other] = g.value[other]
		}
	}
	line := "purge scope=" + scope
	if target != "" {
		line += " targets=(" + target + ")"
	}
	if p.soft {
		line += " mode=soft"
	}
	p.what = line
	g.purges++
	g.add("%s wait=2s", line).purge = p
}

// linger has the origin replace what the shield has, and a PoP take the old content
// from there when most of its lifetime is over: soon afterwards, all is.
func (g *generated) linger(path string) {
	lifetime := g.lifetime[path]
	g.readAt(pick(g, simulatedPoPs...), path)
	g.write(path)
	pop := pick(g, simulatedPoPs...)
	g.add("sleep %v", lifetime*8/10)
	g.readAt(pop, path)
	g.add("sleep %v", lifetime*7/10)
	g.readAt(pop, path)
}

// ambush takes a node down the moment after it has confirmed a purge, and brings
// it back where it cannot hear of it again.
func (g *generated) ambush(path string) {
	pop := pick(g, simulatedPoPs...)
	if _, is := g.broken["heal "+pop]; !is {
		g.toggle("cut "+pop, "heal "+pop)
	}
	g.add("crash %s", pop)
	g.readAt(pop, path)
}

// sweep lets a node forget a purge, since there is a newer one, and reads there
// what it covered.
func (g *generated) sweep(path string) {
	g.purge(pick(g, simulatedPaths...))
	node := pick(g, slices.Concat(g.shields, simulatedPoPs)...)
	g.add("sweep %s", node)
	if slices.Contains(simulatedPoPs, node) {
		g.readAt(node, path)
	}
}

// read begins a read somewhere.
func (g *generated) read() { g.readAt(pick(g, simulatedPoPs...), pick(g, simulatedPaths...)) }

// readAt begins a read, and mostly ends it at once.
func (g *generated) readAt(pop, path string) {
	g.reads++
	r := &readStep{name: fmt.Sprint("r", g.reads), pop: pop, path: path}
	s := g.add("start name=%s pop=%s path=%s", r.name, r.pop, r.path)
	s.read = r
	var fields []string
	if g.chance(3) {
		fields = append(fields, "Range: bytes="+pick(g, "0-15", "16-31", "32-", "-16", "0-", "16-47"))
	}
	if g.chance(4) {
		fields = append(fields, "X-Kind: "+pick(g, "x", "y"))
	}
	s.input = strings.Join(fields, "\n")
	g.pending = append(g.pending, r.name)
	if !g.chance(3) {
		g.end(len(g.pending) - 1)
	}
}

func (g *generated) finish() {
	if len(g.pending) > 0 {
		g.end(g.rand.IntN(len(g.pending)))
	}
}

func (g *generated) end(i int) {
	name := g.pending[i]
	g.pending = slices.Delete(g.pending, i, i+1)
	g.add("finish name=%s", name).read = &readStep{name: name, ends: true}
}

// trouble breaks something, or mends what was broken before.
func (g *generated) trouble() {
	node := pick(g, slices.Concat(g.shields, simulatedPoPs)...)
	switch g.rand.IntN(12) {
	case 9:
		if g.jumps {
			g.clock(node)
		}
	case 10:
		g.add("sweep %s", node)
	case 11:
		g.add("log trim first=%d", max(1, g.purges-g.rand.IntN(3)))
	case 0, 1:
		g.toggle("cut "+node, "heal "+node)
	case 2:
		g.toggle(fmt.Sprintf("lag %s by=%v", node, pick(g, 100*time.Millisecond, simulatedLateness)), "lag "+node+" by=0s")
	case 3:
		g.add("%s %s", pick(g, "crash", "restart"), node)
	case 4:
		g.down(pick(g, append([]string{originHost}, g.shields...)...))
	case 5:
		g.toggle("log down", "log up")
	case 6:
		g.add("crash %s", node)
	case 7:
		g.add("scramble %s n=%d", node, 1+g.rand.IntN(4))
	case 8:
		g.down(pick(g, g.shields...))
	}
}

// down takes a host away, which refuses connections or says nothing any more.
func (g *generated) down(host string) {
	how := ""
	if g.chance(3) {
		how = " silent"
	}
	g.toggle("down "+host+how, "up "+host)
}

func (g *generated) toggle(on, off string) {
	if _, is := g.broken[off]; is {
		delete(g.broken, off)
		g.add("%s", off)
		return
	}
	g.broken[off] = on
	g.add("%s", on)
}

// mend ends all trouble and every read, and reads everything once more.
func (g *generated) mend() {
	for _, off := range slices.Sorted(maps.Keys(g.broken)) {
		g.add("%s", off)
	}
	for len(g.pending) > 0 {
		g.end(0)
	}
	g.add("sleep 5s")
	for _, path := range simulatedPaths {
		for range 3 {
			g.readAt(pick(g, simulatedPoPs...), path)
		}
	}
	for len(g.pending) > 0 {
		g.end(0)
	}
}
