package main

import (
	"fmt"
	"time"

	"weir"
	"weir/internal/lab/regions"
	"weir/internal/measure"
)

type measureCommand struct {
	lookup
	Path     string        `arg:"" optional:"" default:"/" help:"The path to request."`
	Regions  []string      `help:"Regions to measure from. Default: all." placeholder:"NAME"`
	Cold     int           `help:"Cold samples of each kind." default:"3"`
	Warm     int           `help:"Warm samples of each kind." default:"20"`
	Parallel int           `help:"Regions measured at a time." default:"4"`
	Timeout  time.Duration `help:"Time for one request." default:"30s"`
	JSON     bool          `help:"Print JSON."`
}

func (c measureCommand) Run(env *environment) error {
	lab, err := c.read()
	if err != nil {
		return err
	}
	table, err := regions.Load(weir.Regions(), "regions.yaml")
	if err != nil {
		return err
	}
	from := table.Regions()
	if len(c.Regions) > 0 {
		from = nil
		for _, name := range c.Regions {
			region, ok := table.Region(name)
			if !ok {
				return fmt.Errorf("--regions: no region is named %q", name)
			}
			from = append(from, region)
		}
	}
	return measure.Run(env.ctx, measure.Options{
		Ready: lab, Path: c.Path, Regions: from, Cold: c.Cold, Warm: c.Warm,
		Parallel: c.Parallel, Timeout: c.Timeout, JSON: c.JSON,
	}, env.out)
}
