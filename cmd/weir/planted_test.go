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
// this build. Each has a seed with which it is found soon; how soon is up to the
// machine.
func TestPlantedChaos(t *testing.T) {
	for bug, seed := range map[planted.Bug]int{
		planted.LateStamp: 11, planted.ShieldStampIgnored: 5, planted.StandInUntold: 5,
	} {
		t.Run(string(bug), func(t *testing.T) {
			after, said := found(t, seed, 2*time.Minute, "WEIR_PLANTED="+string(bug))
			if after == "" {
				t.Fatalf("not found:\n%s", said)
			}
			t.Logf("found after %s s:\n%s", after, said)
		})
	}
}

// found runs a chaos until it has found something or its time is over.
func found(t *testing.T, seed int, most time.Duration, env ...string) (after string, said string) {
	t.Helper()
	command := weirCommand(t.Context(), "lab", "--chaos", "--chaos-for", most.String(), "--seed", fmt.Sprint(seed))
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
