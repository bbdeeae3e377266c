package deploy

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barCells  = 30
)

// progress shows how far the uploads are: a bar that moves on a terminal, a line
// now and then elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	files    int
	total    int64
	sent     atomic.Int64
	done     atomic.Int64
	begun    time.Time
	end      chan struct{}
	wait     sync.WaitGroup
}

// startProgress begins to show; stop has to follow.
func startProgress(o Options, files int, total int64) *progress {
	p := &progress{w: o.Progress, terminal: o.Terminal, files: files, total: total, begun: time.Now(), end: make(chan struct{})}
	if files == 0 {
		return p
	}
	every := lineEvery
	if p.terminal {
		every = barEvery
		p.draw("")
	}
	p.wait.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.draw("")
			case <-p.end:
				return
			}
		}
	})
	return p
}

func (p *progress) bytes(n int64) { p.sent.Add(n) }
func (p *progress) file()         { p.done.Add(1) }

// stop shows where it has ended.
func (p *progress) stop() {
	close(p.end)
	p.wait.Wait()
	if p.files > 0 && p.terminal {
		p.draw("\n")
	}
}

// draw writes one line. That it cannot be seen stops no upload.
func (p *progress) draw(end string) {
	sent, done := p.sent.Load(), p.done.Load()
	text := fmt.Sprintf("%d of %d files, %s of %s", done, p.files, inUnits(sent), inUnits(p.total))
	if took := time.Since(p.begun).Seconds(); took > 1 {
		text += fmt.Sprintf(", %s/s", inUnits(int64(float64(sent)/took)))
	}
	if !p.terminal {
		_, _ = fmt.Fprintf(p.w, "uploading: %s\n", text)
		return
	}
	share := float64(done) / float64(p.files)
	if p.total > 0 {
		share = float64(sent) / float64(p.total)
	}
	full := int(share * barCells)
	_, _ = fmt.Fprintf(p.w, "\r[%s%s] %3.0f %%  %s\x1b[K%s", strings.Repeat("#", full), strings.Repeat(" ", barCells-full), share*100, text, end)
}

// inUnits gives a number of bytes for people.
func inUnits(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
