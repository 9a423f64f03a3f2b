package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"freshet/event"
	"freshet/eventlog"
	"freshet/hub"
)

// statsInterval is how often stats are taken and sent.
const statsInterval = 2 * time.Second

// figures are the data of a stats event.
type figures struct {
	Node       string   `json:"node"`
	Uptime     float64  `json:"uptime_s"`
	Streams    int      `json:"connections"`     // open streams
	Published  uint64   `json:"published"`       // events that the log took since the start
	PublishedR float64  `json:"published_per_s"` // over the last interval, like all rates
	Delivered  uint64   `json:"delivered"`       // events written to streams since the start
	DeliveredR float64  `json:"delivered_per_s"` //
	P50        *float64 `json:"latency_p50_ms"`  // from append to write; null without deliveries
	P99        *float64 `json:"latency_p99_ms"`  //
	LogBytes   uint64   `json:"log_bytes"`       // on disk
	LogEvents  uint64   `json:"log_events"`      //
	Memory     uint64   `json:"memory_bytes"`    // that the Go runtime holds of the system
	Parked     int      `json:"parked"`          // of the connections, those without a goroutine
	Goroutines int      `json:"goroutines"`      //
	Stalled    uint64   `json:"stalled"`         // streams closed since the start because their readers took nothing
}

// stats holds what was taken last, and what is counted for the next.
type stats struct {
	latest  atomic.Pointer[event.Event]
	stalled atomic.Uint64
}

// Run holds the parked streams, keeps the revoked tickets, takes the stats that streams of the topic
// stats send, and exchanges them with the other nodes, until ctx is done. It returns
// [eventlog.ErrRenewed] once it finds that the log is another one.
func (h *Handlers) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.takeStats(ctx) })
	if h.park != nil {
		g.Go(func() error { return h.park.Run(ctx) })
	}
	if h.cfg.Nodes != nil {
		g.Go(func() error { return h.cfg.Nodes.Hear(ctx, h.nodes.hear) })
	}
	if h.cfg.Tickets != nil {
		g.Go(func() error { return h.cfg.Tickets.Run(ctx, h.connections.endIf) })
	}
	return g.Wait()
}

// Parked is how many of the open streams are held without a goroutine each.
func (h *Handlers) Parked() int {
	if h.park == nil {
		return 0
	}
	return h.park.Len()
}

func (h *Handlers) takeStats(ctx context.Context) error {
	started, before := time.Now(), hub.Stats{}
	ticker := time.NewTicker(statsInterval)
	defer ticker.Stop()
	for last := started; ; {
		now := h.hub.Stats()
		elapsed := time.Since(last).Seconds()
		f := figures{
			Node:      h.cfg.Node,
			Uptime:    time.Since(started).Round(time.Millisecond).Seconds(),
			Streams:   h.gate.count(),
			Published: now.Published,
			Delivered: now.Delivered,
			P50:       milliseconds(now.P50),
			P99:       milliseconds(now.P99),
			Memory:    memory(),

			Parked:     h.Parked(),
			Goroutines: runtime.NumGoroutine(),
			Stalled:    h.stats.stalled.Load(),
		}
		if elapsed > 0 {
			f.PublishedR = float64(now.Published-before.Published) / elapsed
			f.DeliveredR = float64(now.Delivered-before.Delivered) / elapsed
		}
		state, err := h.log.State(ctx)
		if errors.Is(err, eventlog.ErrRenewed) {
			return fmt.Errorf("%w while the server ran: start it again", err)
		}
		if err == nil {
			f.LogBytes, f.LogEvents = state.Bytes, state.Events
		}
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		e := event.Stats(text)
		h.stats.latest.Store(&e)
		if h.cfg.Nodes != nil {
			h.cfg.Nodes.Tell(text)
		}
		before, last = now, time.Now()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func milliseconds(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

// memory is what the runtime holds of the system and has not given back.
func memory() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
