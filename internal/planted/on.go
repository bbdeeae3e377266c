//go:build planted

package planted

import "os"

// In says whether the bug is in this build.
func In(b Bug) bool { return os.Getenv("WEIR_PLANTED") == string(b) }
