//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/chaos"
)

// A short chaos breaks no promise, has had something to break one with, and has
// no reads that fail for no reason.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	var out, live bytes.Buffer
	command := weirCommand(t.Context(), "lab", "--chaos", "--chaos-for", "12s", "--seed", "3", "--json", "--state", t.TempDir())
	command.Stdout, command.Stderr = &out, &live
	err := command.Run()
	var s chaos.Summary
	if bad := json.Unmarshal(out.Bytes(), &s); bad != nil {
		t.Fatalf("%v, %v\n%s%s", err, bad, live.String(), out.String())
	}
	if err != nil || s.Violations > 0 {
		t.Errorf("%v, %d violations:\n%s\n%s", err, s.Violations, strings.Join(s.Shown, "\n\n"), live.String())
	}
	content := 0
	for _, n := range s.Outcomes {
		content += n
	}
	if content < 50 || s.Purges < 10 || len(s.Faults) < 3 {
		t.Errorf("%d reads with content, %d purges, faults %v: that is too little to find anything", content, s.Purges, s.Faults)
	}
	if s.Unexplained > s.Reads/100 {
		t.Errorf("%d of %d reads failed, and no fault explains it:\n%s", s.Unexplained, s.Reads, strings.Join(s.Unclear, "\n"))
	}
}

// However the lab ends, its nodes end with it, those that are paused too.
func TestChaosNodesEndWithIt(t *testing.T) {
	if testing.Short() {
		t.Skip("starts seven processes")
	}
	command := weirCommand(t.Context(), "lab", "--chaos", "--pops", "1", "--state", t.TempDir())
	live, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = command.Process.Kill() }()
	if first, err := bufio.NewReader(live).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", first, err)
	}
	nodes := childrenOf(t, command.Process.Pid)
	if len(nodes) < 3 {
		t.Fatalf("processes of the lab: %v; want one each for control, shields and PoPs", nodes)
	}
	_ = syscall.Kill(nodes[0], syscall.SIGSTOP)
	_ = command.Process.Kill()
	_, _ = io.Copy(io.Discard, live)
	_ = command.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, pid := range nodes {
			if state := processState(pid); state != "" && state != "Z" {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %v still run", left, nodes)
		}
	}
}

// childrenOf lists the processes that a process has started.
func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		if fields := processFields(pid); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processState is "Z" for one that has ended and that nobody has waited for yet,
// "" for one that is gone.
func processState(pid int) string {
	if fields := processFields(pid); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// processFields are what the system says of a process, from its state on; the
// second is its parent. The name before them may have anything in it.
func processFields(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}
