package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"freshet/eventlog"
	"freshet/handlers"
	"freshet/hub"
	"freshet/relay"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
)

// Log is what metrics need of the log.
type Log interface {
	State(ctx context.Context) (eventlog.State, error)
	Stats() eventlog.Stats
}

// Config names the parts to show. All fields are needed.
type Config struct {
	Log      Log
	Hub      *hub.Hub
	Handlers *handlers.Handlers
	Relays   func() []relay.State
	// CertificateExpires returns when the certificate expires; the zero time: there is none.
	CertificateExpires func() time.Time
	DataFolder         string
	Version, Commit    string // of the program; the commit may be empty
	Logger             *slog.Logger
}

const (
	maxScrapes = 4 // at once; more get 503
	// answerTimeout bounds a question to the log. A scrape may have two, and Prometheus waits ten seconds for its end.
	answerTimeout = 2 * time.Second
)

// New returns a handler that serves the metrics of the parts, of the process and of the Go runtime.
func New(cfg Config) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{cfg},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            &errorLog{logger: cfg.Logger, sometimes: rate.Sometimes{Interval: time.Minute}},
		MaxRequestsInFlight: maxScrapes,
	})
}

// errorLog logs at most one error a minute, because a client can cause one with each request: it closes the connection before the answer ends.
type errorLog struct {
	logger    *slog.Logger
	sometimes rate.Sometimes
}

// Println implements [promhttp.Logger].
func (l *errorLog) Println(v ...any) {
	l.sometimes.Do(func() {
		l.logger.Warn("the answer to GET /metrics is not complete", "error", strings.TrimSuffix(fmt.Sprintln(v...), "\n"))
	})
}

// collector makes the metrics at each scrape. It has no list of them that would have to match: New registers only collectors with other prefixes
// beside it.
type collector struct{ Config }

// Describe describes nothing, which makes the registry check the metrics at each scrape.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	s := sink(metrics)
	c.collectServer(s)
	c.collectPublishing(s)
	c.collectStreams(s)
	c.collectLog(s)
	c.collectRelays(s)
}

func (c collector) collectServer(s sink) {
	s.gauge("freshet_build_info", "The program's version and commit; the value is 1.", 1, "version", c.Version, "commit", c.Commit)
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	s.gauge("freshet_ready", "Whether streams and publishing work, as /readyz says: 1 or 0.", oneIf(c.Handlers.Ready(ctx) == nil))
	if expires := c.CertificateExpires(); !expires.IsZero() {
		s.gauge("freshet_certificate_expiry_timestamp_seconds", "Time at which the server's certificate expires.", float64(expires.Unix()))
	}
	if free, size, ok := disk(c.DataFolder); ok {
		s.gauge("freshet_disk_free_bytes", "Space on the disk of the data folder that the server can use.", float64(free))
		s.gauge("freshet_disk_size_bytes", "Size of the disk of the data folder.", float64(size))
	}
}

func (c collector) collectPublishing(s sink) {
	f := c.Handlers.Figures()
	for result, n := range map[string]uint64{"stored": f.Stored, "repeat": f.Repeats, "refused": f.Refused, "failed": f.Failed} {
		s.counter("freshet_publishes_total", "Events in publish requests to this node, by result.", n, "result", result)
	}
	for code, n := range f.Errors {
		s.counter("freshet_error_responses_total", "Requests that this node has answered with an error, and streams that it has refused, by code.", n, "code", code)
	}
}

func (c collector) collectRelays(s sink) {
	states := map[string]int{}
	for _, state := range []string{relay.Standby, relay.Connecting, relay.Live, relay.Waiting, relay.Stopped} {
		states[state] = 0
	}
	var stored, queued, skipped int64
	for _, r := range c.Relays() {
		states[r.State]++
		stored += r.Events
		queued += r.Queued
		skipped += r.Skipped
	}
	for state, n := range states {
		s.gauge("freshet_relays", "Relays of this node, by state.", float64(n), "state", state)
	}
	s.counter("freshet_relay_events_total", "Events that relays of this node have stored.", uint64(stored))
	s.gauge("freshet_relay_queued_events", "Events that relays of this node have read and not stored yet.", float64(queued))
	s.counter("freshet_relay_skipped_events_total", "Events that relays of this node have skipped, because the log cannot store them.", uint64(skipped))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
