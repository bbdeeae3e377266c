package main

import (
	"cmp"
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
	Key       string        `help:"Idempotency key: asking again with it answers the first purge's version." placeholder:"TEXT"`
	Soft      bool          `help:"Make what is covered stale, to be revalidated, instead of dropping it."`
	Wait      bool          `help:"Wait for the nodes and show each as it confirms; --no-wait returns once the purge is durable." negatable:"" default:"true"`
	For       string        `help:"Which nodes to wait for: all, quorum, or names with commas between." default:"all" placeholder:"NODES"`
	Verify    bool          `help:"Ask every node for the purged URLs, before and after, and prove that what they had is gone."`
	Timeout   time.Duration `help:"How long to wait for the nodes, at most 60s." default:"5s"`
	JSON      bool          `help:"Print one JSON object."`

	URL    targets  `cmd:"" name:"url" help:"Purge paths or whole URLs, each with its query."`
	Prefix targets  `cmd:"" help:"Purge every path and URL that begins so."`
	Host   targets  `cmd:"" help:"Purge all of a host."`
	Tag    targets  `cmd:"" help:"Purge what the origin tagged (Surrogate-Key, Cache-Tag)."`
	Asset  targets  `cmd:"" help:"Purge every version of an asset but those given: app.3f9a.js, /v42/app.js, app.js?v=42."`
	Whole  struct{} `cmd:"" name:"site" help:"Purge the whole site."`
	All    struct{} `cmd:"" help:"Purge every site."`
	Log    logFlags `cmd:"" help:"Show who purged what and when, the newest last."`
}

type logFlags struct {
	Follow bool `short:"f" help:"Go on with new ones."`
	Limit  int  `help:"How many, at most 500." default:"20"`
}

type targets struct {
	Targets []string `arg:"" help:"What to purge."`
}

// run purges one scope.
func (c *purgeCommand) run(env *environment, scope purge.Scope, targets []string) error {
	switch {
	case scope == purge.ScopeAll && c.Site != "":
		return errors.New("all is every site: leave out --site, or purge scope site")
	case scope != purge.ScopeAll && c.Site == "" && c.Control != "":
		return errors.New("--site is needed with --control")
	}
	o := purgecli.Options{
		Site: c.Site, Scope: scope, Targets: targets, Soft: c.Soft, Key: c.Key,
		Wait: c.Wait, For: c.For, Verify: c.Verify, Timeout: c.Timeout, JSON: c.JSON,
	}
	lab, err := c.client(&o.Client)
	if err != nil {
		return err
	}
	if scope != purge.ScopeAll {
		o.Site = cmp.Or(c.Site, lab.Site)
	}
	if len(lab.PoPs) > 0 {
		o.Base = lab.PoPs[0].HTTP
	}
	return purgecli.Run(env.ctx, o, env.out)
}

// log shows the log.
func (c *purgeCommand) log(env *environment) error {
	o := purgecli.LogOptions{Limit: c.Log.Limit, Follow: c.Log.Follow, JSON: c.JSON}
	if _, err := c.client(&o.Client); err != nil {
		return err
	}
	return purgecli.Log(env.ctx, o, env.out)
}

// client finds the control to call, and the lab that it is of; the zero File
// for one that was named.
func (c *purgeCommand) client(client *purge.Client) (lab ready.File, err error) {
	if c.Control == "" {
		lab, err = c.read()
		*client = purge.Client{URL: lab.Control, Token: lab.Token}
		return lab, err
	}
	token, err := apiToken(c.TokenFile)
	*client = purge.Client{URL: c.Control, Token: token}
	return lab, err
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
