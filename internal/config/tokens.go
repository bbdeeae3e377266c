package config

import "fmt"

// tokenCharsMin is the shortest token that may guard a port.
const tokenCharsMin = 16

// Tokens are the secrets that weir's parts share. Each of them can stand in a
// file of its own: api_file: PATH in place of api: TOKEN, relative to the
// configuration file's folder. All three are needed, of at least 16 characters.
type Tokens struct {
	API      Secret `yaml:"api"` // bearer token of the purge API
	APIFile  string `yaml:"api_file"`
	Tier     Secret `yaml:"tier"` // what edges show to shields
	TierFile string `yaml:"tier_file"`
	NATS     Secret `yaml:"nats"` // password of the purge log
	NATSFile string `yaml:"nats_file"`
}

func (t *Tokens) settle(at spot, baseDir string) {
	settleSecret(at.field("api"), &t.API, &t.APIFile, baseDir)
	settleSecret(at.field("tier"), &t.Tier, &t.TierFile, baseDir)
	settleSecret(at.field("nats"), &t.NATS, &t.NATSFile, baseDir)
}

func (t *Tokens) check(at spot) {
	checkToken(at.field("api"), t.API)
	checkToken(at.field("tier"), t.Tier)
	checkToken(at.field("nats"), t.NATS)
}

func checkToken(at spot, token Secret) {
	at = secretSpot(at)
	fix := "write a token of 16 characters or more, such as the output of: openssl rand -hex 16"
	at.needs(token != "", fix)
	for _, r := range token {
		if r <= ' ' || r > '~' { // it travels in an HTTP header
			at.bad(at.name()+" has a character that is not printable ASCII", fix)
		}
	}
	if len(token) < tokenCharsMin {
		at.bad(fmt.Sprintf("%s has %d characters, and %d is the least", at.name(), len(token), tokenCharsMin), fix)
	}
}
