package shield

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

func peersNamed(t *testing.T, names ...string) []*peer {
	t.Helper()
	var shields []Peer
	for _, name := range names {
		shields = append(shields, Peer{Name: name, URL: "http://" + name})
	}
	peers, err := peersOf(shields)
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

// Keys spread evenly, also those of a shield that went; and whoever comes or goes
// moves no key between the others.
func TestRank(t *testing.T) {
	const keys = 30_000
	three, four := peersNamed(t, "shield-1", "shield-2", "shield-3"), peersNamed(t, "shield-4", "shield-3", "shield-2", "shield-1")
	owned, inherited := map[string]int{}, map[string]int{}
	for i := range keys {
		key := hashOf("www.test", fmt.Sprintf("/images/%d.png", i))
		before, after := rank(three, key), rank(four, key)
		owned[before[0].Name]++
		if before[0].Name == "shield-1" {
			inherited[before[1].Name]++
		}
		rest := slices.DeleteFunc(after, func(p *peer) bool { return p.Name == "shield-4" })
		for place, p := range before {
			if rest[place].Name != p.Name {
				t.Fatalf("key %d: place %d was %s's, and is %s's with one more shield", i, place, p.Name, rest[place].Name)
			}
		}
	}
	for name, n := range owned {
		if n < keys*9/30 || n > keys*11/30 {
			t.Errorf("%s owns %d of %d keys: want a third, within a tenth of it", name, n, keys)
		}
	}
	for name, n := range inherited {
		if share := owned["shield-1"]; n < share*9/20 || n > share*11/20 {
			t.Errorf("%s inherits %d of shield-1's %d keys: want half, within a tenth of it", name, n, share)
		}
	}
}

// What is asked about a resource in whatever way meets at one shield; and the
// owner does not depend on the process: these were written down.
func TestKeyOf(t *testing.T) {
	request := func(method, url string) *http.Request {
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	part := request("GET", "http://www.test/a?b")
	part.Header.Set("Range", "bytes=1-2")
	part.Header.Set("Accept-Language", "de")
	if want := hashOf("www.test", "/a?b"); keyOf(part) != want || keyOf(request("POST", "http://www.test/a?b")) != want {
		t.Error("a part, or another method, has an owner of its own")
	}
	if keyOf(request("GET", "http://[::1]/a")) != hashOf("::1", "/a") {
		t.Error("brackets of an address count")
	}
	if keyOf(request("GET", "http://www.test/a")) == keyOf(request("GET", "http://static.test/a")) {
		t.Error("two hosts are one key")
	}
	if got := rank(peersNamed(t, "s1", "s2", "s3"), hashOf("www.test", "/a"))[0].Name; got != "s3" {
		t.Errorf("/a belongs to %s now: every edge of another version asks another shield", got)
	}
}
