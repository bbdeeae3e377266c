// Command weir is the whole CDN in one binary: a lab on one machine, or one
// node of it a process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"weir/internal/config"
	"weir/purge"
)

// commands is the command line. Each field's Run is in the file of its name.
type commands struct {
	Lab     labCommand     `cmd:"" help:"Run a whole weir on this machine: S3 origin, shield, PoPs, router, control."`
	Edge    edgeCommand    `cmd:"" help:"Run one PoP of a configuration."`
	Shield  shieldCommand  `cmd:"" help:"Run one shield of a configuration."`
	Control controlCommand `cmd:"" help:"Run the control of a configuration: purge log and API."`
	Router  routerCommand  `cmd:"" help:"Run the router of a configuration."`
	Purge   purgeCommand   `cmd:"" help:"Purge a site's content from every node."`
	Deploy  deployCommand  `cmd:"" help:"Make a directory a site's current release: upload, switch, purge what changed."`
	Token   tokenCommand   `cmd:"" help:"Make tokens of the purge API."`
	Explain explainCommand `cmd:"" help:"Say what every node knows of a URL, and what a request for it would get."`
	Measure measureCommand `cmd:"" help:"Measure a running lab from every region's simulated client."`
	Config  configCommand  `cmd:"" help:"Check a configuration file."`
	Cache   cacheCommand   `cmd:"" help:"Look into a node's stores: a running one's, or a cache directory."`
	Version versionCommand `cmd:"" help:"Say which build this is."`

	Rollback rollbackCommand `cmd:"" help:"Switch a site back to a release that is kept."`
	Releases releasesCommand `cmd:"" help:"List the releases of a site that are kept."`
	Simulate simulateCommand `cmd:"" help:"Replay a trace or an access log, to size a node."`
}

// environment is what commands get from the process they run in.
type environment struct {
	ctx    context.Context
	out    io.Writer
	errors io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(&environment{ctx: ctx, out: os.Stdout, errors: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run gives the process's exit code: 0 for success, 1 for a failure, 2 for a
// command line that makes no sense.
func run(env *environment, args []string) int {
	exit := -1
	all := &commands{}
	parser, err := kong.New(all,
		kong.Name("weir"), kong.Description("A CDN edge node and origin shield."),
		kong.Writers(env.out, env.errors), kong.Exit(func(code int) { exit = code }),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Bind(env))
	if err != nil {
		_, _ = fmt.Fprintln(env.errors, "weir:", err)
		return 2
	}
	command, err := parser.Parse(args)
	if exit >= 0 {
		return exit // help has been shown
	}
	if err != nil {
		_, _ = fmt.Fprintf(env.errors, "weir: %v\nTry: weir --help\n", err)
		return 2
	}
	if err := dispatch(env, command, all); err != nil && (env.ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		_, _ = fmt.Fprintln(env.errors, "weir:", err)
		return 1
	}
	return 0
}

// dispatch runs the command that was parsed. The scopes of a purge are commands
// of one command and share what is said above them.
func dispatch(env *environment, command *kong.Context, all *commands) error {
	p := &all.Purge
	switch name, _, _ := strings.Cut(strings.TrimPrefix(command.Command(), "purge "), " "); {
	case !strings.HasPrefix(command.Command(), "purge "):
		return command.Run()
	case name == "url":
		return p.run(env, purge.ScopeURL, p.URL.Targets)
	case name == "prefix":
		return p.run(env, purge.ScopePrefix, p.Prefix.Targets)
	case name == "host":
		return p.run(env, purge.ScopeHost, p.Host.Targets)
	case name == "tag":
		return p.run(env, purge.ScopeTag, p.Tag.Targets)
	case name == "asset":
		return p.run(env, purge.ScopeAsset, p.Asset.Targets)
	case name == "site":
		return p.run(env, purge.ScopeSite, nil)
	case name == "log":
		return p.log(env)
	default:
		return p.run(env, purge.ScopeAll, nil)
	}
}

// logger writes a process's lines as the configuration wants them.
func (env *environment) logger(c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	logger := slog.New(slog.NewTextHandler(env.errors, options))
	if c.Format == config.LogJSON {
		logger = slog.New(slog.NewJSONHandler(env.errors, options))
	}
	// What libraries say through package log is of interest in debugging only.
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(logger)
	return logger
}

type versionCommand struct{}

func (versionCommand) Run(env *environment) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this binary carries no build information")
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			version += " " + s.Value
		}
	}
	_, err := fmt.Fprintln(env.out, "weir", version, info.GoVersion)
	return err
}
