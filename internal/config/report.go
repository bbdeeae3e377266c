package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Error is one fault of a configuration file.
type Error struct {
	File    string // as it was given to Load or Parse
	Line    int    // from 1
	Column  int    // from 1, in characters
	Problem string // what is wrong
	Fix     string // what to do
}

// Error is `file:line:column: what is wrong: what to do`.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Problem, e.Fix)
}

// Errors is every fault of a file, ordered by line and column. It is never empty.
type Errors []*Error

// Error is one line for each fault.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As the single faults.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}

// position is a place in the file; both count from 1.
type position struct{ line, column int }

// place is where a value of the file stands.
type place struct {
	key   position // of its key, or of a list item's first character
	value position // of the value itself
}

// report collects the faults of one file, and remembers where each value that
// the file gives stands. Values go by their path: "pops[1].tls.cert".
type report struct {
	file     string
	readable bool // there is a tree, so settle and check have something to look at
	places   map[string]place
	faulty   map[string]bool // paths with a fault of their own
	faults   Errors
}

func newReport(file string) *report {
	return &report{file: file, places: map[string]place{}, faulty: map[string]bool{}}
}

func (r *report) add(at position, problem, fix string) {
	r.faults = append(r.faults, &Error{
		File: r.file, Line: max(at.line, 1), Column: max(at.column, 1), Problem: problem, Fix: fix,
	})
}

// err is all faults in the order of the file, or nil.
func (r *report) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.faults
}

// spot names one value of the file by its path, whether the file gives it or
// not, so that a check can say where it looked.
type spot struct {
	report *report
	path   string
}

func (s spot) field(name string) spot {
	if s.path == "" {
		return spot{s.report, name}
	}
	return spot{s.report, s.path + "." + name}
}

func (s spot) item(i int) spot { return spot{s.report, fmt.Sprintf("%s[%d]", s.path, i)} }

// parent is the mapping or list that holds s.
func (s spot) parent() spot {
	i := strings.LastIndexAny(s.path, ".[")
	return spot{s.report, s.path[:max(i, 0)]}
}

// name is the last part of the path: the key, or the key of the list and the
// item's number.
func (s spot) name() string { return s.path[strings.LastIndexByte(s.path, '.')+1:] }

// String is how messages name the value.
func (s spot) String() string {
	if s.path == "" {
		return "the file"
	}
	return s.path
}

// given tells whether the file has a value here. A key with nothing behind it,
// or with null, gives none.
func (s spot) given() bool {
	_, ok := s.report.places[s.path]
	return ok
}

// line is the line of the value, 0 if the file does not give it.
func (s spot) line() int { return s.report.places[s.path].value.line }

// faulted tells whether the value, or something around it, has a fault of its
// own already. What follows from that one would only hide it.
func (s spot) faulted() bool {
	for ; s.path != ""; s = s.parent() {
		if s.report.faulty[s.path] {
			return true
		}
	}
	return s.report.faulty[""]
}

// bad reports a fault of the value, its first: at the value if the file gives
// it, else at the closest thing around it that the file does give.
func (s spot) bad(problem, fix string) {
	if s.faulted() {
		return
	}
	s.report.faulty[s.path] = true
	if s.given() {
		s.report.add(s.report.places[s.path].value, problem, fix)
		return
	}
	for s.path != "" && !s.given() {
		s = s.parent()
	}
	s.report.add(s.report.places[s.path].key, problem, fix)
}

// needs reports a value that must be there and is not, or is empty.
func (s spot) needs(ok bool, fix string) {
	switch {
	case ok:
	case s.given():
		s.bad(s.name()+" is empty", fix)
	case s.parent().given():
		s.bad(fmt.Sprintf("%s has no %s", s.parent(), s.name()), fix)
	default:
		s.bad(fmt.Sprintf("%s is missing", s.path), fix)
	}
}

// needsOne reports a list without items.
func (s spot) needsOne(count int, what string) {
	s.needs(count > 0, "add at least one "+what)
}

// names finds names that are given twice. Its zero value needs only what.
type names struct {
	what string // what has the name, with its article
	seen map[string]spot
}

func (n *names) add(at spot, name string) {
	if n.seen == nil {
		n.seen = map[string]spot{}
	}
	first, twice := n.seen[name]
	switch {
	case name == "":
	case !twice:
		n.seen[name] = at
	case !at.given(): // the default of control or router, and a node before it took it
		at.bad(fmt.Sprintf("%s is not given, and its default %q is the name of %s", at, name, first.parent()), "choose another name")
	default:
		at.bad(fmt.Sprintf("name %q is already the name of %s (%s)", name, n.what, first.parent()), "choose another name")
	}
}

// cause strips the operation and path from a file system error, since the
// message around it names the file already.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
