package main

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"weir/internal/chaos"
	"weir/internal/config"
	"weir/internal/lab"
)

type labCommand struct {
	Site      string       `help:"Directory to serve. Default: a sample site." type:"existingdir" placeholder:"DIR"`
	Origin    string       `help:"s3://KEY:SECRET@HOST:PORT/BUCKET or http://HOST:PORT. Default: an S3 server of the lab's own." placeholder:"URL"`
	PoPs      int          `name:"pops" help:"How many PoPs, 1 to 12." default:"3" placeholder:"N"`
	State     string       `help:"Directory that keeps everything between runs. Default: a temporary one." type:"path" placeholder:"DIR"`
	PortBase  int          `help:"First port; the next ones follow. Default: 8400, or free ports if one of those is taken." placeholder:"PORT"`
	NoDelay   bool         `help:"Do not simulate the regions' network delay."`
	NoShield  bool         `help:"Let the PoPs ask the origin themselves, without a shield between."`
	Shields   *int         `help:"How many shields share the keys, 1 to 5. Default: 1, and 2 with --chaos." placeholder:"N"`
	ReadyFile string       `help:"File to write once everything answers: where everything is, as JSON." type:"path" placeholder:"FILE"`
	Memory    config.Bytes `help:"Memory budget of each node." default:"256MiB" placeholder:"BYTES"`
	Disk      config.Bytes `help:"Disk budget of each node." default:"1GiB" placeholder:"BYTES"`
	Access    bool         `help:"Log one line a request on standard error." default:"true" negatable:""`
	LogLevel  slog.Level   `help:"Least level that is logged: debug, info, warn or error." default:"info" placeholder:"LEVEL"`
	LogFormat string       `help:"text or json." enum:"text,json" default:"text"`

	Chaos    bool          `help:"Break things, and check what readers see: nodes as processes that are killed and paused, links that are cut, an origin that is slow or failing. Exit code 1 if a promise about purges was broken."`
	ChaosFor time.Duration `help:"How long; 0 until Ctrl-C." default:"60s" placeholder:"TIME"`
	Seed     uint64        `help:"What draws the faults. Default: at random." placeholder:"N"`
	JSON     bool          `name:"json" help:"Write the summary of --chaos as one JSON object."`
}

func (c labCommand) Run(env *environment) error {
	if c.Shields != nil && *c.Shields == 0 {
		return errors.New("--shields 0: want 1 to 5, or --no-shield")
	}
	if c.PoPs == 0 {
		return errors.New("--pops 0: want 1 to 12")
	}
	if c.Chaos {
		return c.runChaos(env)
	}
	if c.Seed != 0 || c.JSON {
		return errors.New("--seed and --json go with --chaos")
	}
	shields := 1
	if c.Shields != nil {
		shields = *c.Shields
	}
	boundMemory(int64(c.Memory) * int64(c.PoPs+shields))
	return lab.Run(env.ctx, lab.Options{
		Site: c.Site, Origin: c.Origin, PoPs: c.PoPs, State: c.State, PortBase: c.PortBase, UsualPorts: true, Command: os.Args[0],
		NoDelay: c.NoDelay, NoShield: c.NoShield, Shields: shields, ReadyFile: c.ReadyFile, Memory: c.Memory, Disk: c.Disk, Access: c.Access,
		Log: env.logger(config.Log{Level: c.LogLevel, Format: config.LogFormat(c.LogFormat)}), Out: env.out,
	})
}

// runChaos is --chaos, which has an origin and nodes of its own.
func (c labCommand) runChaos(env *environment) error {
	if c.Site != "" || c.Origin != "" || c.NoShield {
		return errors.New("--chaos has an origin and shields of its own: leave out --site, --origin and --no-shield")
	}
	o := chaos.Options{
		PoPs: c.PoPs, For: c.ChaosFor, Seed: c.Seed, State: c.State, JSON: c.JSON, Command: os.Args[0], Out: env.out, Live: env.errors,
	}
	if c.Shields != nil {
		o.Shields = *c.Shields
	}
	if o.Seed == 0 {
		o.Seed = 1 + rand.Uint64N(1_000_000)
	}
	env.logger(config.Log{Level: c.LogLevel, Format: config.LogFormat(c.LogFormat)})
	return chaos.Run(env.ctx, o)
}
