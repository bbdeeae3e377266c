package main

import (
	"math"
	"runtime/debug"
)

// memoryOverheadBytes is what a process needs besides its stores, and
// memoryPercent what a memory tier has in Go's own memory beside its budget,
// most of which is outside: arrays of the policies, and their garbage.
const (
	memoryOverheadBytes = 96 << 20
	memoryPercent       = 20
)

// boundMemory tells the garbage collector how large Go's own memory should
// become, so that a small budget for the memory tier means a small process. A
// limit that the environment sets (GOMEMLIMIT) stands.
func boundMemory(budgetBytes int64) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	debug.SetMemoryLimit(budgetBytes*memoryPercent/100 + memoryOverheadBytes)
}
