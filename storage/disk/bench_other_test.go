//go:build !linux

package disk

import "testing"

func dropPages(b *testing.B, _ string) { b.Skip("nothing here takes a file out of the page cache") }
