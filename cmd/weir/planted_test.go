//go:build planted && linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/internal/planted"
)

// TestPlantedChaos shows that the chaos finds bugs over real sockets: those of
// this build, mostly with the first seed and within half a minute. How things meet
// in real time is up to the machine, so that there are more seeds.
func TestPlantedChaos(t *testing.T) {
	for bug, seeds := range map[planted.Bug][]int{
		planted.LateStamp: {22, 11, 12}, planted.ShieldStampIgnored: {11, 22, 12}, planted.AppliedBeforeDurable: {12, 11, 22},
		planted.StandInUntold: {22, 11, 41},
	} {
		t.Run(string(bug), func(t *testing.T) {
			for _, seed := range seeds {
				after, said := found(t, seed, time.Minute, "WEIR_PLANTED="+string(bug))
				if after != "" {
					t.Logf("found by seed %d after %s s:\n%s", seed, after, said)
					return
				}
			}
			t.Errorf("%d minutes have not found it", len(seeds))
		})
	}
}

// found runs a chaos until it has found something or its time is over.
func found(t *testing.T, seed int, most time.Duration, env ...string) (after string, said string) {
	t.Helper()
	command := weirCommand(t.Context(), "lab", "--chaos", "--chaos-for", most.String(), "--seed", fmt.Sprint(seed), "--state", t.TempDir())
	command.Env = append(command.Env, env...)
	var out bytes.Buffer
	command.Stdout = &out
	live, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(live); lines.Scan(); {
		if text := lines.Text(); after == "" && strings.Contains(text, "violations ") && !strings.Contains(text, "violations 0") {
			after = strings.TrimSpace(strings.Split(text, " s ")[0])
			_ = command.Process.Signal(os.Interrupt)
		}
	}
	var exit *exec.ExitError
	if err := command.Wait(); after != "" && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Errorf("violations, and the exit is %v; want code 1", err)
	}
	return after, out.String()
}
