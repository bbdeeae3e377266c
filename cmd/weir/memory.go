package main

import (
	"math"
	"runtime/debug"
)

// memoryOverheadBytes is what a process needs besides its stores, and
// memoryPercent how much of a budget's garbage is tolerated on top of it.
const (
	memoryOverheadBytes = 96 << 20
	memoryPercent       = 130
)

// boundMemory tells the garbage collector how large the process should become,
// so that a small budget for the memory tier means a small process. A limit
// that the environment sets (GOMEMLIMIT) stands.
func boundMemory(budgetBytes int64) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	debug.SetMemoryLimit(budgetBytes*memoryPercent/100 + memoryOverheadBytes)
}
