package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// defaulter is a part with defaults. decode calls it before it reads the
// part's keys, so that a key in the file, even one that says 0 or false, wins.
type defaulter interface{ setDefaults() }

// decode reads data into c and returns the top of the file.
//
// The YAML library's own decoder stops at the first fault and keeps no
// positions, so this walk takes the library's tree. Its depth is that of the
// types, whatever the file holds.
func decode(data []byte, name string, c *Config) spot {
	root := spot{report: newReport(name)}
	root.report.places[""] = place{position{1, 1}, position{1, 1}}
	c.setDefaults()
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	if at, ok := textFault(data); ok {
		root.report.add(at, "the file is not plain UTF-8 text", "remove the byte that stands here")
		return root
	}
	if len(data) > fileBytesMax {
		root.report.add(position{1, 1}, fmt.Sprintf("the file has %d bytes, and %d are allowed", len(data), fileBytesMax),
			"split it, one file for each process")
		return root
	}
	// Keys that are given twice are reported by mapping, with all the rest.
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		root.syntax(err)
		return root
	}
	body := onlyDocument(root, file)
	if body == nil {
		return root
	}
	root.report.readable = true
	root.value(body, reflect.ValueOf(c).Elem())
	return root
}

// syntax reports what the YAML parser does not understand. Only its message is
// taken: its full text quotes the lines around, and they may hold a secret.
func (s spot) syntax(err error) {
	at, problem := position{1, 1}, "the file is not valid YAML"
	if ye, ok := errors.AsType[yaml.Error](err); ok {
		problem = "not valid YAML: " + ye.GetMessage()
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			at = position{tk.Position.Line, tk.Position.Column}
		}
	}
	s.report.add(at, problem, "look at the indentation, brackets and quotes here and just above")
}

// onlyDocument is the content of the file's one YAML document, or nil after
// reporting that there is none, or more.
func onlyDocument(root spot, file *ast.File) ast.Node {
	var bodies []ast.Node
	for _, d := range file.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); d.Body != nil && !directive {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		root.report.add(position{1, 1}, "the file is empty", "start from testdata/config/cluster.yaml")
		return nil
	case 1:
		return bodies[0]
	}
	root.report.add(start(bodies[1]), "a second document starts here", "keep one document, without a line ---")
	return nil
}

// value decodes node into v, which is one of the kinds that the types of this
// package are made of.
func (s spot) value(node ast.Node, v reflect.Value) {
	if refused(s, node) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		s.value(node, v.Elem())
	case reflect.Struct:
		if isLeaf(v) {
			s.leaf(node, v)
			return
		}
		s.mapping(node, v)
	case reflect.Slice:
		s.list(node, v)
	case reflect.Map: // StatusTTL is the only one
		s.statuses(node, v)
	default:
		s.leaf(node, v)
	}
}

// refused reports what YAML has and a configuration has no need of. References
// above all: a short file could stand for a very long one.
func refused(s spot, node ast.Node) bool {
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		s.bad(fmt.Sprintf("%s is a YAML anchor or alias", s), "write the value out, in quotes if it starts with & or *")
	case *ast.TagNode:
		s.bad(fmt.Sprintf("%s has a YAML tag", s), "write the value without it, in quotes if it starts with !")
	default:
		return false
	}
	return true
}

// mapping decodes the keys of node into the fields of v.
func (s spot) mapping(node ast.Node, v reflect.Value) {
	if d, ok := v.Addr().Interface().(defaulter); ok {
		d.setDefaults()
	}
	entries, ok := entriesOf(node)
	if !ok {
		s.bad(fmt.Sprintf("%s is %s", s, kindOf(node)), "write keys and values: "+strings.Join(keysOf(v.Type()), ", "))
		return
	}
	first := map[string]int{}
	for _, e := range entries {
		s.entry(e, v, first)
	}
}

// entry decodes one key of a mapping. first has the line of each key so far.
func (s spot) entry(e *ast.MappingValueNode, v reflect.Value, first map[string]int) {
	at := start(e.Key)
	if e.Key.IsMergeKey() {
		s.report.add(at, fmt.Sprintf("merge key << in %s", s), "write the keys out")
		return
	}
	key := text(e.Key)
	field, ok := fieldOf(v, key)
	if !ok {
		s.report.add(at, fmt.Sprintf("unknown key %q in %s", key, s), suggestion(key, keysOf(v.Type())))
		return
	}
	if line, twice := first[key]; twice {
		s.report.add(at, fmt.Sprintf("key %q is given twice in %s", key, s), fmt.Sprintf("keep this one or that of line %d", line))
		return
	}
	first[key] = at.line
	if isNull(e.Value) {
		return
	}
	child := s.field(key)
	s.report.places[child.path] = place{key: at, value: start(e.Value)}
	child.value(e.Value, field)
}

// list decodes the items of node into v.
func (s spot) list(node ast.Node, v reflect.Value) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		s.bad(fmt.Sprintf("%s is %s", s, kindOf(node)), "write a list: a line that starts with - for each item, or [a, b]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		at := start(seq)
		if item != nil {
			at = start(item)
		}
		child := s.item(i)
		s.report.places[child.path] = place{key: at, value: at}
		if v.Index(i).Kind() == reflect.Pointer { // never nil, so that checks need not ask
			v.Index(i).Set(reflect.New(v.Type().Elem().Elem()))
		}
		if isNull(item) {
			child.bad(fmt.Sprintf("%s is empty", child), "remove the item, or write its value")
			continue
		}
		child.value(item, v.Index(i))
	}
}

// entriesOf is the entries of a mapping in the order of the file.
func entriesOf(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// start is where node begins. The library's token of a block mapping is its
// first colon, so its first key is asked instead.
func start(node ast.Node) position {
	if entries, ok := entriesOf(node); ok && len(entries) > 0 && !flow(node) {
		return start(entries[0].Key)
	}
	tk := node.GetToken()
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{tk.Position.Line, tk.Position.Column}
}

func flow(node ast.Node) bool {
	m, ok := node.(*ast.MappingNode)
	return ok && m.IsFlowStyle
}

func isNull(node ast.Node) bool { return node == nil || node.Type() == ast.NullType }

// text is what a scalar says, without its quotes.
func text(node ast.Node) string {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.MappingKeyNode:
		return "?"
	}
	if tk := node.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

// kindOf says what node is, for a sentence.
func kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.BoolNode:
		return "true or false"
	}
	return "a number"
}

// fieldOf is the field of v whose yaml tag is key.
func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i, k := range keysOf(v.Type()) {
		if k == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// keysOf is the keys of a part. Each of its fields has a yaml tag, so that the
// n-th key belongs to the n-th field; a test holds the types to it.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i], _, _ = strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
	}
	return keys
}

// textFault is where data has a byte that is no part of UTF-8, or a control
// character that no text file has.
func textFault(data []byte) (position, bool) {
	at := position{1, 1}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1, unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t':
			return at, true
		case r == '\n':
			at = position{at.line + 1, 0}
		}
		at.column++
		i += size
	}
	return position{}, false
}
