package config

import (
	"fmt"
	"strings"
)

// Control is the process that keeps the purge log and answers the API.
type Control struct {
	Name   string `yaml:"name"`   // default "control"
	Listen string `yaml:"listen"` // of the API; default 127.0.0.1:7400
	URL    string `yaml:"url"`    // where others reach the API; default http://<listen>
	NATS   NATS   `yaml:"nats"`

	Tokens []*APIToken `yaml:"tokens"` // of the API, besides tokens.api, which may everything; none
	Rates  PurgeRates  `yaml:"rates"`
}

func (c *Control) setDefaults() {
	*c = Control{Name: "control", Listen: "127.0.0.1:7400"}
	c.NATS.setDefaults()
	c.Rates.setDefaults()
}

func (c *Control) complete() {
	follow(&c.URL, "http", c.Listen)
	c.NATS.complete()
}

func (c *Control) check(at spot, sites []string) {
	checkName(at.field("name"), c.Name)
	checkListen(at.field("listen"), c.Listen)
	checkURL(at.field("url"), c.URL, c.Listen, "http", "https")
	var own addresses
	own.add(at.field("listen"), c.Listen)
	c.NATS.check(at.field("nats"), &own)
	c.Rates.check(at.field("rates"))
	c.checkTokens(at.field("tokens"), sites)
}

func (c *Control) checkTokens(at spot, sites []string) {
	if len(c.Tokens) > apiTokensMax {
		at.bad(fmt.Sprintf("%d tokens are given", len(c.Tokens)), fmt.Sprintf("write %d at most", apiTokensMax))
	}
	owners := names{what: "a token"}
	hashes := map[string]spot{}
	for i, t := range c.Tokens {
		t.check(at.item(i), sites)
		owners.add(at.item(i).field("name"), t.Name)
		hash := at.item(i).field("hash")
		if first, twice := hashes[strings.ToLower(t.Hash)]; twice && t.Hash != "" {
			hash.bad(fmt.Sprintf("hash is that of line %d", first.line()), "create a token of its own")
		}
		hashes[strings.ToLower(t.Hash)] = hash
	}
}
