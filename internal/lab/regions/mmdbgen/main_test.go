package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const folder = "../../../../testdata/regions"

// TestCommittedDatabase checks that lab.mmdb is what regions.yaml gives.
func TestCommittedDatabase(t *testing.T) {
	committed, err := os.ReadFile(filepath.Join(folder, "lab.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "lab.mmdb")
	for range 3 {
		if err := run(filepath.Join(folder, "regions.yaml"), again); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written, committed) {
			t.Fatal("testdata/regions/lab.mmdb is not what regions.yaml gives: run mmdbgen -o testdata/regions/lab.mmdb")
		}
	}
}

func TestRunNeedsFiles(t *testing.T) {
	if run(filepath.Join(folder, "regions.yaml"), "") == nil {
		t.Error("no output file was accepted")
	}
	if run("missing.yaml", filepath.Join(t.TempDir(), "out")) == nil {
		t.Error("a missing table was accepted")
	}
}
