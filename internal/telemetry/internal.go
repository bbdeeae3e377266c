package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Internal observes the requests to an interface that is no cache: control's
// API and the router. They get access lines and count like others, without a
// site and an outcome.
func (t *Telemetry) Internal(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		counting := &counter{ResponseWriter: w, status: http.StatusOK}
		defer func() { t.observeInternal(r, counting, time.Since(start)) }()
		h.ServeHTTP(counting, r)
	})
}

func (t *Telemetry) observeInternal(r *http.Request, w *counter, total time.Duration) {
	proto := fmt.Sprintf("%d.%d", r.ProtoMajor, r.ProtoMinor)
	t.requests.WithLabelValues("", proto, "internal", fmt.Sprint(w.status)).Inc()
	if !t.access {
		return
	}
	t.log.LogAttrs(context.Background(), slog.LevelInfo, "access",
		slog.String("client", r.RemoteAddr), slog.String("proto", r.Proto), slog.String("method", r.Method),
		slog.String("host", r.Host), slog.String("target", r.RequestURI), slog.Int("status", w.status),
		slog.Int64("bytes", w.bytes), slog.Duration("total", total))
}

// counter notes what is written through it.
type counter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what is below: a purge that is
// waited for is flushed line by line.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
