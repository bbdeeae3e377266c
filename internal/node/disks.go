package node

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/inspect"
	"weir/purge/natslog"
	"weir/storage/disk"
)

// outOfService is what is said of directories of which none could be opened.
func (b budgets) outOfService(folder string, err error) func() []disk.Health {
	all := []disk.Health{}
	for _, d := range b.diskOptions(folder, nil).Directories() {
		all = append(all, disk.Health{Dir: d.Path, Device: d.Device, State: disk.StateOffline, Errors: 1, LastError: err})
	}
	return func() []disk.Health { return all }
}

// publishHealth names the condition of each of the store's directories.
func (t *tier) publishHealth(health func() []disk.Health) {
	t.disks = health
	for i, h := range health() {
		t.telemetry.Gauge(t.name, "weir_disk_state", "Condition of a cache directory: 0 online, 1 failing, 2 offline.",
			func() float64 { return float64(health()[i].State) }, "dir", h.Dir)
		t.telemetry.Gauge(t.name, "weir_disk_errors_total", "Calls of the file system that failed.",
			func() float64 { return float64(health()[i].Errors) }, "dir", h.Dir)
	}
	t.telemetry.Check("disk", func() error { return offline(health()) })
	t.telemetry.Detail("disks", func() any { return conditions(health()) })
}

// offline names every directory that is out of service; nil if none is.
func offline(all []disk.Health) error {
	var errs []error
	for _, h := range all {
		if h.State == disk.StateOffline {
			errs = append(errs, fmt.Errorf("%s is %s: %w", h.Dir, h.State, h.LastError))
		}
	}
	return errors.Join(errs...)
}

func conditions(all []disk.Health) []inspect.DiskStat {
	said := make([]inspect.DiskStat, 0, len(all))
	for _, h := range all {
		c := inspect.DiskStat{Dir: h.Dir, Device: h.Device, State: h.State.String(), Errors: h.Errors}
		if h.LastError != nil {
			c.LastError = h.LastError.Error()
		}
		said = append(said, c)
	}
	return said
}

// cacheAnswerer is whom control asks what a node's stores have: not the one that it
// asks about URLs, whom a verification would hold up.
func cacheAnswerer(node string) string { return node + "/cache" }

// answerCache tells control what this node's stores have (weir cache --node).
func (t *tier) answerCache(ctx context.Context) error {
	var n inspect.Node
	if t.memory != nil {
		n.Memory = t.memory
	}
	if t.disk != nil {
		n.Disk = t.disk
	}
	if t.disks != nil {
		n.Disks = func() []inspect.DiskStat { return conditions(t.disks()) }
	}
	return natslog.AnswerQuestions(ctx, t.conn, cacheAnswerer(t.name), n.Answerer(ctx), nil)
}
