package main

import (
	"time"

	"weir/internal/purgecli"
)

type tokenCommand struct {
	Create struct {
		Name    string   `help:"Stands for the token in logs." required:"" placeholder:"NAME"`
		Site    []string `help:"A site that it may purge; * for every one." required:"" placeholder:"NAME"`
		Scope   []string `help:"A scope that it may purge by: url, prefix, host, tag, asset, site, all; * for every one." required:"" placeholder:"SCOPE"`
		Expires string   `help:"How long it holds (720h), or until when (2027-01-31). Default: for ever." placeholder:"WHEN"`
	} `cmd:"" help:"Make a token of the purge API, print it once, and the lines by which control knows it."`
}

func (c tokenCommand) Run(env *environment) error {
	return purgecli.CreateToken(purgecli.TokenOptions{
		Name: c.Create.Name, Sites: c.Create.Site, Scopes: c.Create.Scope, Expires: c.Create.Expires,
	}, time.Now(), env.out)
}
