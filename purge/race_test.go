//go:build race

package purge_test

// raceEnabled says that the race detector makes everything many times as slow.
const raceEnabled = true
