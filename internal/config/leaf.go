package config

import (
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"reflect"
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// isLeaf tells the structs that are one value from those that have keys.
func isLeaf(v reflect.Value) bool { return v.Type() == reflect.TypeFor[netip.Prefix]() }

// leaf decodes a scalar into v.
func (s spot) leaf(node ast.Node, v reflect.Value) {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		s.bad(fmt.Sprintf("%s is %s", s, kindOf(node)), "write one value")
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *Bytes:
		s.parsed(node, target.parse)
	case *Duration:
		s.parsed(node, target.parse)
	case *Eviction:
		s.parsed(node, target.parse)
	case *LogFormat:
		s.parsed(node, target.parse)
	case *slog.Level:
		s.parsed(node, func(text string) (string, string) { return parseLevel(text, target) })
	case *netip.Prefix:
		s.parsed(node, func(text string) (string, string) { return parsePrefix(text, target) })
	default:
		s.plain(node, v)
	}
}

// parsed gives the text of a scalar to a parser, which answers with what is
// wrong with it and what to do, or with nothing.
func (s spot) parsed(node ast.Node, parse func(text string) (problem, fix string)) {
	if problem, fix := parse(text(node)); problem != "" {
		s.bad(s.name()+" "+problem, fix)
	}
}

// plain decodes a scalar of one of Go's own kinds. No message quotes the
// value, since it may be a secret.
func (s spot) plain(node ast.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		switch node.(type) {
		case *ast.StringNode, *ast.LiteralNode:
			v.SetString(text(node))
		default:
			s.bad(fmt.Sprintf("%s is %s, not text", s, kindOf(node)), "put it in quotes")
		}
	case reflect.Bool:
		if b, ok := node.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		s.bad(fmt.Sprintf("%s is %s, not true or false", s, kindOf(node)), "write true or false")
	case reflect.Int:
		n, err := strconv.Atoi(text(node))
		if err != nil || node.Type() != ast.IntegerType {
			s.bad(fmt.Sprintf("%s is not a whole number", s), "write a number, such as 10000")
			return
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text(node), 64)
		number := node.Type() == ast.IntegerType || node.Type() == ast.FloatType
		if err != nil || !number || math.IsInf(f, 0) || math.IsNaN(f) {
			s.bad(fmt.Sprintf("%s is not a number", s), "write a number, such as 52.31")
			return
		}
		v.SetFloat(f)
	}
}

func parseLevel(text string, into *slog.Level) (problem, fix string) {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[text]
	if !ok {
		return fmt.Sprintf("%q is not a level", text), "write debug, info, warn or error"
	}
	*into = level
	return "", ""
}

func parsePrefix(text string, into *netip.Prefix) (problem, fix string) {
	prefix, err := netip.ParsePrefix(text)
	if err == nil {
		*into = prefix.Masked()
		return "", ""
	}
	fix = "write a network, such as 10.0.0.0/8 or 2001:db8::/32"
	if addr, err := netip.ParseAddr(text); err == nil {
		fix = fmt.Sprintf("write %s/%d for this one address", addr.WithZone(""), addr.BitLen())
	}
	return fmt.Sprintf("%q is not a network", text), fix
}
