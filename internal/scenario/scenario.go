// Package scenario plays scripts against a whole cluster: a scripted origin, a
// shield, edges and the purge log, all real but for the network, which is in
// memory, and the clock, which is testing/synctest's. A script is a file of
// commands with the output of each recorded below it, in the format of
// cockroachdb/datadriven; `go test ./internal/scenario -rewrite` records anew.
// The scripts are in testdata/scenarios.
//
//	client ──► edge ams ─┐
//	client ──► edge iad ─┼─► shield ──► origin       HTTP/1.1 over net.Pipe
//	               ▲     ┘      ▲
//	               └── purge log ┘                   purge/memlog, purge.API
//
// The commands, in the order in which a script tends to need them:
//
//	cluster [pops=(ams,iad)] [default_ttl=D] [negative_ttl=D] [swr=D] [sie=D]
//	        [obey_client] [max_lag=D] [when_lagging=serve] [memory=1MiB] [disk=4MiB]
//	        [block=16]
//	                        builds the cluster; only as a script's first command,
//	                        which otherwise gets one with the defaults
//	origin path=/a [method=M] [when=(Field: value)] [delay=D] [size=64KiB]
//	       [pause=D] [chunked] [drop] [hang] [no304] [ranges]
//	                        says what the origin answers: input is an optional
//	                        status line, header lines, an empty line, the body
//	origin-log [fields=(A,B)]
//	                        what the origin has been asked since the last time
//	get pop=ams path=/a [method=M] [host=H] [n=N] [fields=(A,B)] [times]
//	                        a request, and its answer; input is header lines, an
//	                        empty line, a body. n requests at once, spread over
//	                        pop=(ams,iad), are summarised
//	start name=r1 pop=ams … like get, and goes on while the script does
//	peek name=r1            what has arrived of it by now
//	finish name=r1          waits for its end
//	leave name=r1           its client closes the connection
//	sleep 10s               lets time pass
//	purge scope=S targets=(/a,/b) [mode=soft] [site=S] [wait=D]
//	                        calls control's API; a JSON body can be the input
//	explain path=/a [host=H]
//	                        what a request would get from each node, without
//	                        making it; input is header lines
//	applied                 the purge version of each node
//	stored                  how many objects each node's store has
//	clock NODE by=D         its clock is wrong by so much from now on
//	cut NODE, heal NODE     its way to the purge log; lag NODE by=D
//	scramble NODE n=N       its next deliveries come twice or in the wrong order
//	log down|up|replace|trim first=N
//	                        what befalls the log itself
//	down HOST [silent], up HOST
//	                        HOST, which is origin or a shield, refuses connections,
//	                        or lets those who connect wait
//	restart NODE            stops it in order and starts it on what it has kept
//	crash NODE              starts it on a copy of what was on disk at the moment
//
// Simulate plays scripts that a seed has drawn, and holds what readers saw
// against the promises about purges (generate.go, history.go, simulate.go).
//
// A command that the script got wrong fails the test; what the cluster answers,
// errors included, is output. After each command the runner waits until nothing
// moves any more, so that output depends on the script alone.
package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
)

// Run plays the script at path and fails t where the output is not the one
// recorded.
func Run(t *testing.T, path string) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{dir: t.TempDir(), began: time.Now(), exchanges: make(map[string]*exchange)}
		defer func() {
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}()
		datadriven.RunTestAny(quiet{t}, path, s.run)
	})
}

// quiet leaves out datadriven's note, every ten seconds, that a command still
// runs: the seconds are those of the bubble, and hours of them are nothing.
type quiet struct{ *testing.T }

func (q quiet) Logf(format string, values ...any) {
	if !strings.Contains(format, "still running") {
		q.T.Helper()
		q.T.Logf(format, values...)
	}
}

// script is one file's cluster and the requests that are on their way.
type script struct {
	dir       string
	began     time.Time
	cluster   *cluster
	exchanges map[string]*exchange
}

// run plays one command.
func (s *script) run(t testing.TB, d *datadriven.TestData) string {
	t.Helper()
	a := &args{data: d, used: make(map[string]bool)}
	if err := s.ready(d.Cmd, a); err != nil {
		d.Fatalf(t, "%v", err)
	}
	out, err := s.command(d.Cmd, a)
	if err == nil {
		err = a.check()
	}
	if err != nil {
		d.Fatalf(t, "%s: %v", d.Cmd, err)
	}
	synctest.Wait()
	return out
}

// ready builds the cluster before the first command.
func (s *script) ready(name string, a *args) error {
	if s.cluster != nil {
		return nil
	}
	if name != "cluster" {
		a = &args{data: &datadriven.TestData{}, used: make(map[string]bool)}
	}
	var err error
	s.cluster, err = startCluster(s.dir, clusterOptions(a))
	synctest.Wait()
	return err
}

func (s *script) command(name string, a *args) (string, error) {
	switch name {
	case "cluster":
		return s.built(a)
	case "origin":
		return s.originReply(a)
	case "origin-log":
		return s.cluster.origin.takeLog(a.list("fields")), nil
	case "get":
		return s.get(a)
	case "start":
		return s.start(a)
	case "peek":
		return s.peek(a)
	case "finish":
		return s.finish(a)
	case "leave":
		return s.leave(a)
	case "sleep":
		return s.sleep(a)
	case "purge":
		return s.purge(a)
	case "receipts":
		return s.receipts(a)
	case "explain":
		return s.explain(a)
	case "applied":
		return s.cluster.applied(), nil
	case "stored":
		return s.cluster.stored(), nil
	case "log":
		return s.log(a)
	case "down", "up":
		return s.reach(a, name == "down")
	case "clock", "cut", "heal", "lag", "scramble", "restart", "crash", "sweep":
		return s.nodeCommand(name, a)
	}
	return "", fmt.Errorf("no such command; the package comment lists them")
}

// built notices a second cluster: the first has been running by then.
func (s *script) built(a *args) (string, error) {
	if time.Since(s.began) > 0 || s.cluster.used {
		return "", fmt.Errorf("must be the first command")
	}
	clusterOptions(a) // marks what ready has read
	return "", nil
}

// sleep lets time pass, and says how much has since the start.
func (s *script) sleep(a *args) (string, error) {
	word, err := a.word()
	if err != nil {
		return "", err
	}
	d, err := time.ParseDuration(word)
	if err != nil {
		return "", err
	}
	time.Sleep(d)
	return fmt.Sprintf("now %v\n", time.Since(s.began)), nil
}

// nodeCommand does to the named node what the command says.
func (s *script) nodeCommand(name string, a *args) (string, error) {
	word, err := a.word()
	if err != nil {
		return "", err
	}
	n := s.cluster.nodes[word]
	if n == nil {
		return "", fmt.Errorf("no node %q", word)
	}
	switch name {
	case "clock":
		n.skew.Store(int64(a.duration("by")))
	case "cut", "heal":
		n.link.Partition(name == "cut")
	case "lag":
		n.link.Delay(a.duration("by"))
	case "scramble":
		n.link.Scramble(a.number("n", 1))
	case "restart":
		return "", n.restart()
	case "crash":
		return "", n.crash()
	case "sweep":
		return n.sweep()
	}
	return "", nil
}

// reach makes a host refuse connections, or lets it answer again.
func (s *script) reach(a *args, down bool) (string, error) {
	silent := a.flag("silent")
	host, err := a.word()
	switch {
	case err != nil:
		return "", err
	case host != originHost && !slices.Contains(s.cluster.shields, host):
		return "", fmt.Errorf("host %q: want %s or one of %v", host, originHost, s.cluster.shields)
	case down && silent:
		s.cluster.network.setState(host, hostSilent)
	case down:
		s.cluster.network.setState(host, hostDown)
	default:
		s.cluster.network.setState(host, hostUp)
	}
	return "", nil
}

// close ends what is on its way and stops the cluster.
func (s *script) close() error {
	for _, x := range s.exchanges {
		x.cancel()
		<-x.done
	}
	if s.cluster == nil {
		return nil
	}
	return s.cluster.close()
}
