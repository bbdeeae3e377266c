package lru

import (
	"slices"
	"testing"
)

type element struct {
	name string
	node Node[element]
}

// drain removes all elements, oldest first.
func drain(l *List[element]) (names []string) {
	for e := l.Oldest(); e != nil; e = l.Oldest() {
		names = append(names, e.name)
		l.Remove(&e.node)
	}
	return names
}

func TestList(t *testing.T) {
	var l List[element]
	if l.Oldest() != nil {
		t.Fatal("the zero list is not empty")
	}
	a, b, c := &element{name: "a"}, &element{name: "b"}, &element{name: "c"}
	for _, e := range []*element{a, b, c} {
		l.PushNewest(e, &e.node)
	}
	l.Remove(&a.node)
	if a.node.Linked() || !b.node.Linked() {
		t.Fatal("Linked is wrong")
	}
	l.PushNewest(a, &a.node)
	if got, want := drain(&l), []string{"b", "c", "a"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	l.PushNewest(b, &b.node)
	if got := drain(&l); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("after draining: %v", got)
	}
}

func TestListAllocatesNothing(t *testing.T) {
	var l List[element]
	e := &element{}
	if n := testing.AllocsPerRun(100, func() { l.PushNewest(e, &e.node); l.Remove(&e.node) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
