package node

import (
	"errors"
	"fmt"

	"weir/storage/disk"
)

// diskCondition is a directory in /healthz.
type diskCondition struct {
	Dir       string `json:"dir"`
	Device    string `json:"device,omitempty"`
	State     string `json:"state"`
	Errors    int64  `json:"errors"`
	LastError string `json:"last_error,omitempty"`
}

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

func conditions(all []disk.Health) []diskCondition {
	said := make([]diskCondition, 0, len(all))
	for _, h := range all {
		c := diskCondition{Dir: h.Dir, Device: h.Device, State: h.State.String(), Errors: h.Errors}
		if h.LastError != nil {
			c.LastError = h.LastError.Error()
		}
		said = append(said, c)
	}
	return said
}
