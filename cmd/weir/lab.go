package main

import (
	"errors"
	"log/slog"
	"os"

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
	Shields   int          `help:"How many shields share the keys, 1 to 5." default:"1" placeholder:"N"`
	ReadyFile string       `help:"File to write once everything answers: where everything is, as JSON." type:"path" placeholder:"FILE"`
	Memory    config.Bytes `help:"Memory budget of each node." default:"256MiB" placeholder:"BYTES"`
	Disk      config.Bytes `help:"Disk budget of each node." default:"1GiB" placeholder:"BYTES"`
	Access    bool         `help:"Log one line a request on standard error." default:"true" negatable:""`
	LogLevel  slog.Level   `help:"Least level that is logged: debug, info, warn or error." default:"info" placeholder:"LEVEL"`
	LogFormat string       `help:"text or json." enum:"text,json" default:"text"`
}

func (c labCommand) Run(env *environment) error {
	if c.Shields == 0 {
		return errors.New("--shields 0: want 1 to 5, or --no-shield")
	}
	if c.PoPs == 0 {
		return errors.New("--pops 0: want 1 to 12")
	}
	boundMemory(int64(c.Memory) * int64(c.PoPs+c.Shields))
	return lab.Run(env.ctx, lab.Options{
		Site: c.Site, Origin: c.Origin, PoPs: c.PoPs, State: c.State, PortBase: c.PortBase, UsualPorts: true, Command: os.Args[0],
		NoDelay: c.NoDelay, NoShield: c.NoShield, Shields: c.Shields, ReadyFile: c.ReadyFile, Memory: c.Memory, Disk: c.Disk, Access: c.Access,
		Log: env.logger(config.Log{Level: c.LogLevel, Format: config.LogFormat(c.LogFormat)}), Out: env.out,
	})
}
