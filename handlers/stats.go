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

	"freshet/event"
	"freshet/eventlog"
	"freshet/hub"
	"freshet/stream"
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

// stats holds the event that streams of the topic stats send.
type stats struct{ latest atomic.Pointer[event.Event] }

// takeStats takes the figures at each interval. It returns [eventlog.ErrRenewed] if the log
// was replaced by another one.
func (h *Handlers) takeStats(ctx context.Context) error {
	started, before := time.Now(), hub.Stats{}
	ticker := time.NewTicker(statsInterval)
	defer ticker.Stop()
	for last := started; ; {
		now := h.hub.Stats()
		latency := now.Latency.Since(before.Latency)
		elapsed := time.Since(last).Seconds()
		f := figures{
			Node:      h.cfg.Node,
			Uptime:    time.Since(started).Round(time.Millisecond).Seconds(),
			Streams:   h.streams.Len(),
			Published: now.Published,
			Delivered: now.Delivered,
			P50:       percentile(latency, 50),
			P99:       percentile(latency, 99),
			Memory:    memory(),

			Parked:     h.Parked(),
			Goroutines: runtime.NumGoroutine(),
			Stalled:    h.streams.Closed(stream.Stalled),
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

func percentile(l hub.Latency, p uint64) *float64 {
	d, ok := l.Percentile(p)
	if !ok {
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
