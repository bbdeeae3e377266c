//go:build !planted

package planted

// In says whether the bug is in this build.
func In(Bug) bool { return false }
