package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"weir/internal/config"
	"weir/internal/deploy"
	"weir/internal/lab/bucket"
	"weir/internal/ready"
	"weir/purge"
)

// siteLookup finds a site's bucket and the control that purges it: those of the
// lab that runs, of a configuration, or what is named. Secrets come from files or
// from the environment, since everybody may read a command line.
type siteLookup struct {
	lookup
	Config  string `help:"Configuration file that has the site, in place of a lab." type:"existingfile" placeholder:"FILE"`
	Bucket  string `help:"The site's bucket, in place of both: s3s://HOST[:PORT]/BUCKET[/PREFIX][?region=R], or s3:// without TLS. Its keys are in WEIR_S3_ACCESS_KEY and WEIR_S3_SECRET_KEY." placeholder:"URL"`
	Control string `help:"URL of the control's API, with --bucket. Its token is in WEIR_TOKEN." placeholder:"URL"`
	Site    string `help:"The site. Default: the only one." placeholder:"NAME"`
}

// Names of the environment variables that go before what a file says, for whoever
// may write the bucket: nodes need to read it only.
const (
	accessKeyVariable = "WEIR_S3_ACCESS_KEY"
	secretKeyVariable = "WEIR_S3_SECRET_KEY"
	tokenVariable     = "WEIR_TOKEN"
)

// find sets what says where to deploy.
func (l siteLookup) find(o *deploy.Options) (err error) {
	switch {
	case (l.Bucket == "") != (l.Control == ""):
		return errors.New("--bucket and --control go together")
	case l.Bucket != "":
		err = l.fromFlags(o)
	case l.Config != "":
		err = l.fromConfig(o)
	default:
		err = l.fromLab(o)
	}
	if err != nil {
		return err
	}
	access, secret := os.Getenv(accessKeyVariable), os.Getenv(secretKeyVariable)
	if (access == "") != (secret == "") {
		return fmt.Errorf("of %s and %s only one is set", accessKeyVariable, secretKeyVariable)
	}
	if access != "" {
		o.Bucket.AccessKey, o.Bucket.SecretKey = access, secret
	}
	if token := os.Getenv(tokenVariable); token != "" && l.Config+l.Bucket != "" {
		o.Control.Token = token
	}
	if l.Bucket != "" && (access == "" || o.Control.Token == "") {
		return fmt.Errorf("--bucket needs its keys in %s and %s, and control's token in %s", accessKeyVariable, secretKeyVariable, tokenVariable)
	}
	return nil
}

// fromFlags takes what is named, for machines that have no configuration.
func (l siteLookup) fromFlags(o *deploy.Options) (err error) {
	if l.Config != "" || l.ReadyFile != "" {
		return errors.New("--bucket is in place of --config and --ready-file: give one")
	}
	if l.Site == "" {
		return errors.New("--site is needed with --bucket")
	}
	scheme, rest, _ := strings.Cut(l.Bucket, "://")
	if strings.Contains(rest, "@") {
		return fmt.Errorf("--bucket has keys in it, which everybody may read on a command line: set %s and %s", accessKeyVariable, secretKeyVariable)
	}
	if o.Bucket, err = bucket.ParseURL(scheme + "://none:none@" + rest); err != nil {
		return fmt.Errorf("--bucket %q: %w: want s3s://HOST[:PORT]/BUCKET[/PREFIX][?region=R]", l.Bucket, errors.Unwrap(err))
	}
	o.Site, o.Assets, o.Control = l.Site, purge.DefaultAssets(), purge.Client{URL: l.Control}
	return nil
}

func (l siteLookup) fromLab(o *deploy.Options) error {
	lab, err := l.read()
	if errors.Is(err, ready.ErrNoLab) {
		return fmt.Errorf("%w, or --config", err)
	}
	if err != nil {
		return err
	}
	switch {
	case l.Site != "" && l.Site != lab.Site:
		return fmt.Errorf("the lab's site is called %q, not %q", lab.Site, l.Site)
	case lab.S3 == nil:
		return fmt.Errorf("the lab's origin %s is no bucket: there is nothing to deploy to", lab.Origin)
	}
	s3 := lab.S3
	o.Site, o.Assets = lab.Site, purge.DefaultAssets()
	o.Control = purge.Client{URL: lab.Control, Token: lab.Token}
	o.Bucket = bucket.S3URL{
		Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
		AccessKey: s3.AccessKey, SecretKey: string(s3.SecretKey), Secure: s3.Secure,
	}
	return nil
}

func (l siteLookup) fromConfig(o *deploy.Options) error {
	if l.ReadyFile != "" {
		return errors.New("--config and --ready-file are two places to look: give one")
	}
	c, err := config.Load(l.Config)
	if err != nil {
		return err
	}
	all := names(c.Sites, func(s *config.Site) string { return s.Name })
	name := l.Site
	if name == "" {
		if len(all) != 1 {
			return fmt.Errorf("--site is needed: %s has %s", l.Config, strings.Join(all, ", "))
		}
		name = all[0]
	}
	i := slices.Index(all, name)
	if i < 0 {
		return fmt.Errorf("no site is named %q in %s: it has %s", name, l.Config, strings.Join(all, ", "))
	}
	s3 := c.Sites[i].Origin.S3
	if s3 == nil {
		return fmt.Errorf("site %s has no bucket: its origin is another HTTP server, and there is nothing to deploy to", name)
	}
	o.Site, o.Assets = name, purge.Assets(c.Sites[i].Policy.Assets)
	o.Control = purge.Client{URL: c.Control.URL, Token: string(c.Tokens.API)}
	o.Bucket = bucket.S3URL{
		Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
		AccessKey: s3.AccessKey, SecretKey: string(s3.SecretKey), Secure: s3.Secure,
	}
	return nil
}

// switchFlags are those of the commands that switch a site.
type switchFlags struct {
	DryRun    bool          `help:"Say what would change, and change nothing."`
	Wait      bool          `help:"Wait for the nodes and show each as it confirms the purge; --no-wait returns once it is durable." negatable:"" default:"true"`
	Timeout   time.Duration `help:"How long to wait for the nodes, at most 60s." default:"30s"`
	Unguarded bool          `help:"Go on with a store that does not refuse conditional writes: see to it yourself that nobody else deploys."`
}

func (f switchFlags) set(o *deploy.Options) error {
	if f.Timeout <= 0 || f.Timeout > time.Minute {
		return fmt.Errorf("--timeout %v: want more than 0, and at most 60s", f.Timeout)
	}
	o.DryRun, o.NoWait, o.Timeout, o.Unguarded = f.DryRun, !f.Wait, f.Timeout, f.Unguarded
	return nil
}

type deployCommand struct {
	Dir string `arg:"" help:"The directory that has the site's files." type:"existingdir"`
	siteLookup
	switchFlags
	Keep        int           `help:"How many releases to keep: to roll back to, and so that pages of theirs that clients have find their assets." default:"5" placeholder:"N"`
	Parallel    int           `help:"Uploads at a time, 1 to 64." default:"8" placeholder:"N"`
	BrowserTTL  time.Duration `name:"browser-ttl" help:"How long browsers may use what has no fingerprint in its name without asking." default:"0s"`
	EdgeTTL     time.Duration `name:"edge-ttl" help:"How long PoPs and shields may, unless it is purged." default:"24h"`
	Immutable   []string      `help:"Paths that browsers may keep for good, besides names with fingerprints: /img/*.png, or a folder as /_app/immutable/." placeholder:"PATTERN"`
	Mutable     []string      `help:"Paths that they may not, whatever the names look like." placeholder:"PATTERN"`
	FollowLinks bool          `help:"Upload what symbolic links out of the directory lead to."`
	Dotfiles    bool          `help:"Upload files and folders whose names begin with a dot too; .well-known always is."`
	Note        string        `help:"A text beside the release in weir releases, such as a commit." placeholder:"TEXT"`
}

func (c deployCommand) Run(env *environment) error {
	o := deploy.Options{
		Keep: c.Keep, Parallel: c.Parallel, BrowserTTL: c.BrowserTTL, EdgeTTL: c.EdgeTTL, Immutable: c.Immutable, Mutable: c.Mutable,
		FollowLinks: c.FollowLinks, DotFiles: c.Dotfiles, Note: c.Note,
		Out: env.out, Progress: env.errors, Terminal: isTerminal(env.errors),
	}
	if c.Keep < 1 || c.Parallel < 1 {
		return errors.New("--keep and --parallel are at least 1")
	}
	if c.EdgeTTL < time.Second {
		return fmt.Errorf("--edge-ttl %v: want a second or more", c.EdgeTTL)
	}
	if err := errors.Join(c.find(&o), c.set(&o)); err != nil {
		return err
	}
	return unlessInterrupted(env, deploy.Run(env.ctx, o, c.Dir))
}

type rollbackCommand struct {
	siteLookup
	switchFlags
	To uint64 `help:"The release, as weir releases lists it. Default: the one before the current." placeholder:"RELEASE"`
}

func (c rollbackCommand) Run(env *environment) error {
	o := deploy.Options{Out: env.out}
	if err := errors.Join(c.find(&o), c.set(&o)); err != nil {
		return err
	}
	return unlessInterrupted(env, deploy.Rollback(env.ctx, o, c.To))
}

// unlessInterrupted makes an interruption a failure, unlike that of a command that
// runs until it is interrupted: what was asked for has not been done.
func unlessInterrupted(env *environment, err error) error {
	if err == nil || env.ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("interrupted; the same command again goes on from there (%v)", err) // not a context.Canceled any more
}

type releasesCommand struct {
	siteLookup
	JSON bool `help:"Print one JSON object."`
}

func (c releasesCommand) Run(env *environment) error {
	o := deploy.Options{Out: env.out}
	if err := c.find(&o); err != nil {
		return err
	}
	return deploy.List(env.ctx, o, c.JSON)
}

// isTerminal says whether lines that are written over are of use there.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
