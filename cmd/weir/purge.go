package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"weir/internal/purgecli"
	"weir/internal/ready"
	"weir/purge"
)

// lookup finds the weir to talk to: the lab that runs, the one whose ready
// file is named, or the control that is named.
type lookup struct {
	ReadyFile string `help:"Ready file of a lab. Default: the lab that this user runs." type:"path" placeholder:"FILE"`
}

func (l lookup) read() (ready.File, error) {
	path := l.ReadyFile
	if path == "" {
		path = ready.DefaultPath()
	}
	return ready.Read(path)
}

type purgeCommand struct {
	lookup
	Control   string        `help:"URL of the control's API, in place of a lab's." placeholder:"URL"`
	TokenFile string        `help:"File with the API's token, for --control. WEIR_TOKEN serves as well." type:"existingfile" placeholder:"FILE"`
	Site      string        `help:"The site. Default: the lab's." placeholder:"NAME"`
	Soft      bool          `help:"Make what is covered stale, to be revalidated, instead of dropping it."`
	NoWait    bool          `help:"Return once the purge is durable, without waiting for the nodes."`
	Timeout   time.Duration `help:"How long to wait for the nodes, at most 60s." default:"5s"`
	JSON      bool          `help:"Print one JSON object."`

	URL    targets  `cmd:"" name:"url" help:"Purge paths or whole URLs, each with its query."`
	Prefix targets  `cmd:"" help:"Purge every path and URL that begins so."`
	Host   targets  `cmd:"" help:"Purge all of a host."`
	Tag    targets  `cmd:"" help:"Purge what the origin tagged (Surrogate-Key, Cache-Tag)."`
	All    struct{} `cmd:"" help:"Purge the whole site."`
}

type targets struct {
	Targets []string `arg:"" help:"What to purge."`
}

// run purges one scope.
func (c *purgeCommand) run(env *environment, scope purge.Scope, targets []string) error {
	client, site, err := c.client()
	if err != nil {
		return err
	}
	return purgecli.Run(env.ctx, purgecli.Options{
		Client: client, Site: site, Scope: scope, Targets: targets,
		Soft: c.Soft, Wait: !c.NoWait, Timeout: c.Timeout, JSON: c.JSON,
	}, env.out)
}

func (c *purgeCommand) client() (purge.Client, string, error) {
	if c.Control == "" {
		lab, err := c.read()
		if err != nil {
			return purge.Client{}, "", err
		}
		if c.Site == "" {
			c.Site = lab.Site
		}
		return purge.Client{URL: lab.Control, Token: lab.Token}, c.Site, nil
	}
	if c.Site == "" {
		return purge.Client{}, "", errors.New("--site is needed with --control")
	}
	token, err := apiToken(c.TokenFile)
	return purge.Client{URL: c.Control, Token: token}, c.Site, err
}

// apiToken is the token for a control that is named.
func apiToken(file string) (string, error) {
	token := os.Getenv("WEIR_TOKEN")
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if token == "" {
		return "", errors.New("--control needs a token: give --token-file, or set WEIR_TOKEN")
	}
	return token, nil
}
