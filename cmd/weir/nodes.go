package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"weir/internal/config"
	"weir/internal/node"
)

// configFile is what every command that runs a node takes.
type configFile struct {
	File string `name:"config" help:"The configuration file." required:"" type:"existingfile" placeholder:"FILE"`
}

// load reads the file and makes the process's logger of it.
func (f configFile) load(env *environment) (*config.Config, node.Env, error) {
	c, err := config.Load(f.File)
	if err != nil {
		return nil, node.Env{}, err
	}
	return c, node.Env{Log: env.logger(c.Log)}, nil
}

type edgeCommand struct {
	configFile
	Name string `help:"Which PoP. Needed if there are several."`
}

func (c edgeCommand) Run(env *environment) error {
	conf, around, err := c.load(env)
	if err != nil {
		return err
	}
	name, err := choose(c.Name, "PoP", names(conf.PoPs, func(p *config.PoP) string { return p.Name }))
	if err != nil {
		return err
	}
	if pop := conf.PoP(name); pop != nil {
		boundMemory(int64(pop.Memory))
	}
	edge, err := node.StartEdge(env.ctx, conf, name, around)
	if err != nil {
		return err
	}
	around.Log.Info("edge is up", "node", name, "http", edge.HTTPAddr(), "https", edge.HTTPSAddr(), "admin", edge.AdminAddr())
	return edge.Run(env.ctx)
}

type shieldCommand struct {
	configFile
	Name string `help:"Which shield. Needed if there are several."`
}

func (c shieldCommand) Run(env *environment) error {
	conf, around, err := c.load(env)
	if err != nil {
		return err
	}
	name, err := choose(c.Name, "shield", names(conf.Shields, func(s *config.Shield) string { return s.Name }))
	if err != nil {
		return err
	}
	if s := conf.Shield(name); s != nil {
		boundMemory(int64(s.Memory))
	}
	shield, err := node.StartShield(env.ctx, conf, name, around)
	if err != nil {
		return err
	}
	around.Log.Info("shield is up", "node", name, "address", shield.Addr())
	return shield.Run(env.ctx)
}

type controlCommand struct{ configFile }

func (c controlCommand) Run(env *environment) error {
	conf, around, err := c.load(env)
	if err != nil {
		return err
	}
	control, err := node.StartControl(env.ctx, conf, around)
	if err != nil {
		return err
	}
	around.Log.Info("control is up", "node", conf.Control.Name, "api", control.Addr(), "log", control.BrokerAddr())
	return control.Run(env.ctx)
}

type routerCommand struct{ configFile }

func (c routerCommand) Run(env *environment) error {
	conf, around, err := c.load(env)
	if err != nil {
		return err
	}
	router, err := node.StartRouter(conf, nil, around)
	if err != nil {
		return err
	}
	around.Log.Info("router is up", "node", conf.Router.Name, "address", router.Addr())
	return router.Run(env.ctx)
}

// choose takes the name given, or the only one there is.
func choose(given, kind string, all []string) (string, error) {
	if given != "" {
		return given, nil
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return "", fmt.Errorf("--name is needed: the configuration has %d %ss: %s", len(all), kind, strings.Join(all, ", "))
}

func names[T any](items []T, name func(T) string) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = name(item)
	}
	return all
}

type configCommand struct {
	Check struct {
		File string `arg:"" help:"The configuration file."`
	} `cmd:"" help:"Check a file: names line and column of what is wrong with it."`
}

var errConfig = errors.New("the configuration has errors")

func (c configCommand) Run(env *environment) error {
	if !config.Check(env.out, c.Check.File) {
		return errConfig
	}
	return context.Cause(env.ctx)
}
