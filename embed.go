// Package weir holds the files that the binary carries, so that a lab starts
// anywhere without a checkout beside it.
package weir

import (
	"embed"
	"io/fs"
)

//go:embed all:testdata/site testdata/regions/regions.yaml testdata/regions/lab.mmdb
var files embed.FS

// SampleSite is the site that a lab serves unless it is given another.
func SampleSite() fs.FS { return sub("testdata/site") }

// Regions has regions.yaml, the table of regions, and lab.mmdb, a location
// database of them and of the networks of their simulated clients.
func Regions() fs.FS { return sub("testdata/regions") }

func sub(folder string) fs.FS {
	found, err := fs.Sub(files, folder)
	if err != nil {
		panic(err) // the folder's name is a constant and valid
	}
	return found
}
