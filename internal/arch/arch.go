// Package arch holds weir to the picture of its parts: what is in which folder,
// and which part may import which. It is nothing but tests, and they read the
// source only: of every file that is not a test, for every system.
//
// The picture is the table in rules_test.go. To change it, change that table
// and ARCHITECTURE.md together.
package arch
