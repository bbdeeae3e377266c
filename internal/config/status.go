package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// StatusTTL has lifetimes by status code. In a file it is a mapping, such as
// {404: 1m, 503: 5s}.
type StatusTTL map[int]Duration

// statuses decodes such a mapping. What its keys mean is for check.
func (s spot) statuses(node ast.Node, v reflect.Value) {
	entries, ok := entriesOf(node)
	if !ok {
		s.bad(fmt.Sprintf("%s is %s", s, kindOf(node)), "write statuses and times, such as {404: 1m, 503: 5s}")
		return
	}
	all := make(StatusTTL, len(entries))
	first := map[int]int{}
	for _, e := range entries {
		at, key := start(e.Key), text(e.Key)
		status, err := strconv.Atoi(key)
		if line, twice := first[status]; err == nil && twice {
			s.report.add(at, fmt.Sprintf("status %d is given twice in %s", status, s), fmt.Sprintf("keep this one or that of line %d", line))
			continue
		}
		if err != nil {
			s.report.add(at, fmt.Sprintf("%q in %s is not a status", key, s), "write a number, such as 404")
			continue
		}
		first[status] = at.line
		child := s.field(strconv.Itoa(status))
		s.report.places[child.path] = place{key: at, value: at}
		if isNull(e.Value) {
			child.bad(fmt.Sprintf("%s is empty", child), "remove the status, or write its time")
			continue
		}
		s.report.places[child.path] = place{key: at, value: start(e.Value)}
		var ttl Duration
		child.value(e.Value, reflect.ValueOf(&ttl).Elem())
		all[status] = ttl
	}
	v.Set(reflect.ValueOf(all))
}

// neverStored are final statuses that no store keeps: they answer fields of one
// request, or change the connection.
var neverStored = []int{206, 304, 407, 412, 416, 417, 426}

func (t StatusTTL) check(at spot) {
	for status := range t {
		if status < 200 || status > 599 || slices.Contains(neverStored, status) {
			at.field(strconv.Itoa(status)).bad(fmt.Sprintf("a response with status %d is never stored", status), "remove it")
		}
	}
}

// targetsMax bounds the target list of RFC 9213.
const targetsMax = 16

// checkTargets wants names of fields that origins can send.
func checkTargets(at spot, names []string) {
	if len(names) > targetsMax {
		at.bad(fmt.Sprintf("%d fields are given", len(names)), fmt.Sprintf("write %d at most", targetsMax))
	}
	for i, name := range names {
		switch item := at.item(i); {
		case !isToken(name):
			item.bad(fmt.Sprintf("%q is not a name", name), "write the name of a response field, such as CDN-Cache-Control")
		case strings.EqualFold(name, "Cache-Control"):
			item.bad("Cache-Control is no targeted field", "remove it: it counts where none of the others is there")
		case strings.HasPrefix(strings.ToLower(name), "weir-"):
			item.bad(fmt.Sprintf("%s is a field of weir's own", name), "choose another name: an origin's would be dropped")
		}
	}
}
