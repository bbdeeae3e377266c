package evict

import "math"

// tournament keeps a price for each queue and knows the lowest: a binary tree
// whose leaves are the queues, each node the lower of its two children.
type tournament struct {
	prices [2 * queuesMax]float64 // the root is at 1, the children of n at 2n and 2n+1
}

func newTournament() tournament {
	var t tournament
	for i := range t.prices {
		t.prices[i] = math.Inf(1)
	}
	return t
}

// set gives a queue its price; +Inf takes it out.
func (t *tournament) set(queue int, price float64) {
	i := queuesMax + queue
	t.prices[i] = price
	for i > 1 {
		i /= 2
		lower := min(t.prices[2*i], t.prices[2*i+1])
		if t.prices[i] == lower {
			return
		}
		t.prices[i] = lower
	}
}

// lowest gives the queue with the lowest price; false if none is in.
func (t *tournament) lowest() (queue int, ok bool) {
	if math.IsInf(t.prices[1], 1) {
		return 0, false
	}
	i := 1
	for i < queuesMax {
		i *= 2
		if t.prices[i] != t.prices[i/2] {
			i++
		}
	}
	return i - queuesMax, true
}
