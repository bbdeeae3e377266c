//go:build race

package lab_test

// raceEnabled says whether the race detector is built in, which makes the copying of
// bodies many times as slow.
const raceEnabled = true
