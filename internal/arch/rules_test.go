package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// module is the path that our own imports start with.
const module = "weir"

// rule says which parts one part may import. A part is a folder with all that
// is below it, save what is a part of its own, and may always import itself.
type rule struct {
	part string
	may  []string // nil: nothing of ours
	all  bool     // anything
	why  string
}

var rules = []rule{
	{part: ".", why: "the root package only carries files"},
	{part: "geo", why: "geo imports nothing of ours"},
	{part: "origin", why: "origin imports nothing of ours"},
	{part: "cache/rfc9110", why: "the pure rules import nothing of ours"},
	{part: "cache/rfc9111", why: "the pure rules import nothing of ours"},
	{part: "storage", may: []string{"cache/rfc9110", "cache/rfc9111", "internal/vfs"},
		why: "storage knows the words of the rules, and the file system"},
	{part: "purge", may: []string{"cache/rfc9110", "cache/rfc9111", "internal/planted"},
		why: "purge knows the words of the rules; no arrows among edge, shield, purge and geo"},
	{part: "cache", may: []string{"cache/rfc9110", "cache/rfc9111", "storage", "internal/planted"},
		why: "the engine knows the rules and storage, and not who runs it"},
	{part: "edge", may: []string{"cache", "cache/rfc9110", "cache/rfc9111", "storage"},
		why: "edge faces clients with the engine; no arrows among edge, shield, purge and geo"},
	{part: "shield", may: []string{"cache", "cache/rfc9110", "cache/rfc9111", "storage", "internal/planted"},
		why: "shield serves edges with the engine; no arrows among edge, shield, purge and geo"},
	{part: "internal/vfs", why: "the file system is below everything"},
	{part: "internal/planted", why: "the bugs know nothing of what they are planted in"},
	{part: "internal/config", why: "the configuration names parts and does not know them"},
	{part: "internal/arch", why: "the picture is not in the picture"},
	{part: "internal", all: true, why: "the lab, the nodes and the scenarios wire"},
	{part: "cmd", all: true, why: "cmd wires"},
}

// folders is the layout: the top-level folders, without hidden ones and without
// what the Makefile and the programs make (bin, state).
var folders = []string{"cache", "cmd", "docs", "edge", "geo", "internal", "origin", "purge", "shield", "storage", "testdata"}

// nameless are names that say nothing about what is in a package.
var nameless = []string{"util", "utils", "common", "types", "pkg", "helper", "helpers"}

// ruleOf is the rule of the innermost part that has the package, whose path
// starts below the module.
func ruleOf(pkg string) (rule, bool) {
	for part := pkg; ; {
		if i := slices.IndexFunc(rules, func(r rule) bool { return r.part == part }); i >= 0 {
			return rules[i], true
		}
		cut := strings.LastIndexByte(part, '/')
		if cut < 0 {
			return rule{}, false
		}
		part = part[:cut]
	}
}

// arrow says what is wrong with an import of one of our packages by another,
// or "".
func arrow(from, to string) string {
	r, ok := ruleOf(from)
	if !ok {
		return fmt.Sprintf("%s belongs to no part: give it a rule in internal/arch", from)
	}
	target, ok := ruleOf(to)
	if r.all || ok && (target.part == r.part || slices.Contains(r.may, target.part)) {
		return ""
	}
	may := "nothing of ours"
	if len(r.may) > 0 {
		may = "only " + strings.Join(r.may, ", ")
	}
	return fmt.Sprintf("the arrow %s -> %s is not in the picture: %s may import %s (%s)", from, to, r.part, may, r.why)
}

func TestRules(t *testing.T) {
	for _, row := range []struct {
		from, to string
		good     bool
	}{
		{"geo", "cache/rfc9111", false},
		{"origin", "storage", false},
		{"cache/rfc9111", "cache", false},
		{"cache/rfc9111", "cache/rfc9110", false},
		{"cache/rfc9111/fields", "cache/rfc9111", true},
		{"storage", "cache/rfc9111", true},
		{"storage", "cache", false},
		{"storage/disk", "storage", true},
		{"storage/disk", "storage/evict", true},
		{"storage/disk", "internal/vfs", true},
		{"storage/disk", "internal/lab", false},
		{"purge", "cache/rfc9111", true},
		{"purge", "storage", false},
		{"purge", "internal/vfs", false},
		{"cache", "storage", true},
		{"cache", "storage/disk", true},
		{"cache/memo", "cache", true},
		{"cache", "purge", false},
		{"cache", "origin", false},
		{"edge", "cache", true},
		{"edge", "cache/rfc9111", true},
		{"edge", "shield", false},
		{"edge/lean", "purge", false},
		{"edge", "internal/config", false},
		{"shield", "edge", false},
		{"shield", "geo", false},
		{"shield", "origin", false},
		{"internal/config", "storage", false},
		{"internal/vfs", "storage", false},
		{"internal/lab", "edge", true},
		{"internal/lab/ca", "internal/vfs", true},
		{"internal/node", "internal/config", true},
		{"cmd/weir", "internal/lab", true},
		{"edgeless", "cache", false},
		{".", "geo", false},
		{"internal/lab", ".", true},
	} {
		if got := arrow(row.from, row.to); (got == "") != row.good {
			t.Errorf("%s -> %s: %q", row.from, row.to, got)
		}
	}
}
