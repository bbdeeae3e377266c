// Package planted has bugs that are put into the code on purpose, to show that
// the simulation and the chaos find them: each breaks one of the promises about purges in the
// way in which other caches have broken it. They are there only in a build with
// the tag "planted", and only the one that WEIR_PLANTED names. In every other
// build In is false for the compiler, and nothing of them is left.
package planted

// Bug is one of them.
type Bug string

// The bugs.
const (
	// LateStamp stamps a fill when its response arrives, and not when it is
	// asked for (breaks P3).
	LateStamp Bug = "late-stamp"
	// ShieldStampIgnored has an edge take what a shield gives it for as new as
	// its own knowledge (breaks P2).
	ShieldStampIgnored Bug = "shield-stamp-ignored"
	// AppliedBeforeDurable confirms a purge before it is in the journal
	// (breaks P4).
	AppliedBeforeDurable Bug = "applied-before-durable"
	// StandInUntold has an edge that asks another shield than the owner not tell
	// it which purges have to be in force there (breaks P2).
	StandInUntold Bug = "stand-in-untold"
)

// Bugs are all of them.
var Bugs = [...]Bug{LateStamp, ShieldStampIgnored, AppliedBeforeDurable, StandInUntold}
