// Package lru is a list in order of use whose links lie inside its elements,
// so that moving an element on every hit allocates nothing.
package lru

// Node is embedded in an element and links it. An element is in one list at
// most. The zero Node is in none.
type Node[T any] struct {
	prev, next *Node[T]
	element    *T
}

// Linked says whether the element is in a list.
func (n *Node[T]) Linked() bool { return n.element != nil }

// List holds elements from the one used last to the one used least recently.
// The zero List is empty. It does no locking.
type List[T any] struct {
	root Node[T] // root.next is the newest, root.prev the oldest; both nil at first
}

// PushNewest puts element in as the one used last. n is its Node, which must
// not be linked.
func (l *List[T]) PushNewest(element *T, n *Node[T]) {
	if l.root.next == nil {
		l.root.next, l.root.prev = &l.root, &l.root
	}
	n.element = element
	n.prev, n.next = &l.root, l.root.next
	n.prev.next, n.next.prev = n, n
}

// Remove takes the element of n out. n must be linked in this list.
func (l *List[T]) Remove(n *Node[T]) {
	n.prev.next, n.next.prev = n.next, n.prev
	*n = Node[T]{}
}

// Oldest gives the element used least recently, nil if the list is empty.
func (l *List[T]) Oldest() *T {
	if l.root.prev == nil {
		return nil
	}
	return l.root.prev.element // nil when it is the root itself
}
