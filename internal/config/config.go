// Package config reads the one YAML file that describes a whole weir: control,
// router, shields, PoPs and sites. Every process gets the same file and reads
// its own part of it.
//
// A file is read in three steps, and each of them goes on after a fault, so
// that all that is wrong with a file is told at once:
//
//   - decode walks the YAML tree into the types of this package, which hold
//     their defaults already, and remembers where each value stands;
//   - settle fills in what follows from other values (a URL from a listen
//     address, a path from the file's folder, a token from its file);
//   - check looks at the meaning: names, addresses, limits, references.
//
// Each fault reads `file:line:column: what is wrong: what to do`.
//
// A program that starts weir's parts itself, as the lab does, builds a Config
// from [Default] and calls [Config.Complete] instead.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fileBytesMax bounds a configuration file: a thousand sites fit, and the YAML
// parser, whose time grows with the square of a file's length, stays quick.
const fileBytesMax = 256 << 10

// Config is the whole file. The zero value has no defaults in it; start from
// [Default].
type Config struct {
	// State is the folder in which each node keeps its files, in a folder of
	// its own name (see [Config.NodeDir]). Default "./state", relative to the
	// folder of the configuration file.
	State string `yaml:"state"`

	// CDNLoop names this CDN in CDN-Loop (RFC 8586): a name, or a host with or
	// without port, that no other CDN on the way to an origin uses. Default
	// "weir".
	CDNLoop string `yaml:"cdn_loop"`

	Log     Log       `yaml:"log"`
	Tokens  Tokens    `yaml:"tokens"`
	Control Control   `yaml:"control"`
	Router  *Router   `yaml:"router"` // nil: this weir has no router
	Shields []*Shield `yaml:"shields"`
	PoPs    []*PoP    `yaml:"pops"`
	TLS     *TLS      `yaml:"tls"` // for PoPs without one of their own; may be nil
	Sites   []*Site   `yaml:"sites"`
	Limits  Limits    `yaml:"limits"`

	PurgeMethod PurgeMethod `yaml:"purge_method"`
}

// Default returns a Config with every default filled in, and without router,
// shields, PoPs, sites and tokens.
func Default() *Config {
	c := new(Config)
	c.setDefaults()
	return c
}

func (c *Config) setDefaults() {
	c.State = "./state"
	c.CDNLoop = "weir"
	c.Log.setDefaults()
	c.Control.setDefaults()
	c.Limits.setDefaults()
}

// Load reads the file at path. The error is of type [Errors] when the file
// could be read and something in it is wrong.
func Load(path string) (*Config, error) {
	data, err := readRegular(path, fileBytesMax)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, cause(err))
	}
	return Parse(data, path, filepath.Dir(path))
}

// Parse reads data as a configuration. The name stands in front of each error;
// relative paths in data start at the folder baseDir. The error is of type
// [Errors] and holds everything that is wrong, in the order of the lines.
func Parse(data []byte, name, baseDir string) (*Config, error) {
	c := new(Config)
	root := decode(data, name, c)
	if root.report.readable {
		c.settle(root, baseDir)
		c.check(root)
	}
	if err := root.report.err(); err != nil {
		return nil, err
	}
	c.Complete()
	return c, nil
}

// settle replaces what the file says in a short way: relative paths by paths,
// names of secret files by the secrets in them.
func (c *Config) settle(root spot, baseDir string) {
	resolve(baseDir, &c.State)
	c.Tokens.settle(root.field("tokens"), baseDir)
	resolve(baseDir, &c.Control.NATS.CA)
	c.TLS.settle(baseDir)
	if c.Router != nil {
		resolve(baseDir, &c.Router.MMDB)
	}
	for _, s := range c.Shields {
		settleDisks(s.Disks, baseDir)
	}
	for _, p := range c.PoPs {
		p.TLS.settle(baseDir)
		settleDisks(p.Disks, baseDir)
	}
	for i, s := range c.Sites {
		s.settle(root.field("sites").item(i), baseDir)
	}
}

// Complete fills in what follows from other values: the URLs that follow from
// listen addresses, each PoP's shields (all of them) and TLS files (those of
// the top). Parse has done it; only a Config built in code needs it, after its
// last change and before the first use.
func (c *Config) Complete() {
	c.Control.complete()
	for _, s := range c.Shields {
		s.complete()
	}
	for _, p := range c.PoPs {
		p.complete(c)
	}
}

// check reports all that is wrong with the meaning of the file.
func (c *Config) check(root spot) {
	if c.State == "" {
		root.field("state").bad("state is empty", "write a folder, such as ./state")
	}
	if !isToken(strings.Replace(c.CDNLoop, ":", "", 1)) {
		root.field("cdn_loop").bad(fmt.Sprintf("cdn_loop %q is not a name", c.CDNLoop), "write a name or a host, such as cdn.example.com")
	}
	c.Tokens.check(root.field("tokens"))
	c.Control.check(root.field("control"), c.siteNames())
	if c.Router != nil {
		c.Router.check(root.field("router"))
	}
	c.TLS.check(root.field("tls"))
	c.Limits.check(root.field("limits"))

	shields := root.field("shields")
	if len(c.PoPs) == 0 || slices.ContainsFunc(c.PoPs, func(p *PoP) bool { return p.Shield != NoShield }) {
		shields.needsOne(len(c.Shields), "shield")
	}
	for i, s := range c.Shields {
		s.check(shields.item(i))
	}
	pops := root.field("pops")
	pops.needsOne(len(c.PoPs), "PoP")
	for i, p := range c.PoPs {
		p.check(pops.item(i), c)
	}
	sites := root.field("sites")
	sites.needsOne(len(c.Sites), "site")
	for i, s := range c.Sites {
		s.check(sites.item(i))
	}
	c.checkNames(root)
	c.checkHosts(sites)
}

// checkNames sees to it that no two nodes share a name, since the name is the
// node's folder and what purges wait for, and no two sites.
func (c *Config) checkNames(root spot) {
	nodes := names{what: "a node"}
	nodes.add(root.field("control").field("name"), c.Control.Name)
	if c.Router != nil {
		nodes.add(root.field("router").field("name"), c.Router.Name)
	}
	for i, s := range c.Shields {
		nodes.add(root.field("shields").item(i).field("name"), s.Name)
	}
	for i, p := range c.PoPs {
		nodes.add(root.field("pops").item(i).field("name"), p.Name)
	}
	sites := names{what: "a site"}
	for i, s := range c.Sites {
		sites.add(root.field("sites").item(i).field("name"), s.Name)
	}
}

func (c *Config) siteNames() []string {
	all := make([]string, len(c.Sites))
	for i, s := range c.Sites {
		all[i] = s.Name
	}
	return all
}

// NodeDir is the folder in which the node of that name keeps its files. It
// need not exist yet.
func (c *Config) NodeDir(name string) string { return filepath.Join(c.State, name) }

// Shield returns the shield of that name, or nil.
func (c *Config) Shield(name string) *Shield {
	for _, s := range c.Shields {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// PoP returns the PoP of that name, or nil.
func (c *Config) PoP(name string) *PoP {
	for _, p := range c.PoPs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// resolve makes a path that is not absolute start at baseDir. An empty path
// stays empty.
func resolve(baseDir string, path *string) {
	if *path != "" && !filepath.IsAbs(*path) {
		*path = filepath.Join(baseDir, *path)
	}
}

// readRegular reads a whole file. It refuses what is not a regular file, since
// a read from a pipe or a device may never end, and more than bytesMax.
func readRegular(path string, bytesMax int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a regular file")
	}
	if info.Size() > bytesMax {
		return nil, fmt.Errorf("it has %d bytes, and %d are allowed", info.Size(), bytesMax)
	}
	return os.ReadFile(path)
}
