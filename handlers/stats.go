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
	"freshet/metrics/latency"
	"freshet/relay"
	"freshet/stream"
)

// statsInterval is the time between two stats events.
const statsInterval = 2 * time.Second

// nodeStats are a node's figures.
type nodeStats struct {
	Node       string   `json:"node"`
	NodeID     string   `json:"node_id,omitempty"` // of the process, unlike the name; empty without other nodes
	Uptime     float64  `json:"uptime_s"`
	Streams    int      `json:"connections"`     // open streams
	Published  uint64   `json:"published"`       // events stored since the start
	PublishedR float64  `json:"published_per_s"` // over the last interval, like all rates
	Delivered  uint64   `json:"delivered"`       // events written to streams since the start
	DeliveredR float64  `json:"delivered_per_s"` //
	P50        *float64 `json:"latency_p50_ms"`  // from append to write; null without deliveries
	P99        *float64 `json:"latency_p99_ms"`  //
	LogBytes   uint64   `json:"log_bytes"`       // on disk
	LogEvents  uint64   `json:"log_events"`      //
	Topics     uint64   `json:"topics"`          // that have events in the log
	Memory     uint64   `json:"memory_bytes"`    // that the Go runtime has from the system
	Parked     int      `json:"parked"`          // connections without a goroutine
	Goroutines int      `json:"goroutines"`      //
	Skipped    uint64   `json:"skipped"`         // invalid events of NATS clients since the start
	Stalled    uint64   `json:"stalled"`         // streams closed since the start because their clients read nothing

	Relays []relay.State `json:"relays,omitempty"` // of this node
}

// statsData is the data of a stats event.
type statsData struct {
	nodeStats
	Cluster clusterStats `json:"cluster"`
}

// stats has the newest event of the topic stats.
type stats struct{ latest atomic.Pointer[event.Event] }

// runStats makes a stats event at each interval. It returns [eventlog.ErrRenewed] if the log was replaced by a new one.
func (h *Handlers) runStats(ctx context.Context) error {
	started, before := time.Now(), hub.Stats{}
	ticker := time.NewTicker(statsInterval)
	defer ticker.Stop()
	for last := started; ; {
		now := h.hub.Stats()
		took := now.Latency.Since(before.Latency)
		elapsed := time.Since(last).Seconds()
		f := nodeStats{
			Node:      h.cfg.Node,
			NodeID:    h.nodes.id,
			Uptime:    time.Since(started).Round(time.Millisecond).Seconds(),
			Streams:   h.streams.Len(),
			Published: now.Published,
			Delivered: now.Delivered,
			P50:       percentile(took, 50),
			P99:       percentile(took, 99),
			Memory:    memory(),

			Parked:     h.Parked(),
			Goroutines: runtime.NumGoroutine(),
			Skipped:    h.log.Stats().Skipped,
			Stalled:    h.streams.Closed(stream.Stalled),
		}
		if h.cfg.Relays != nil {
			f.Relays = h.cfg.Relays()
		}
		if elapsed > 0 {
			f.PublishedR = float64(now.Published-before.Published) / elapsed
			f.DeliveredR = float64(now.Delivered-before.Delivered) / elapsed
		}
		state, err := h.log.State(ctx)
		if errors.Is(err, eventlog.ErrRenewed) {
			return fmt.Errorf("%w while the server was running: start the server again", err)
		}
		if err == nil {
			f.LogBytes, f.LogEvents, f.Topics = state.Bytes, state.Events, state.Topics
		}
		if err := h.tellStats(f); err != nil {
			return err
		}
		before, last = now, time.Now()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tellStats makes the stats event, and sends the figures to the other nodes.
func (h *Handlers) tellStats(f nodeStats) error {
	h.nodes.setOwn(f)
	text, err := json.Marshal(statsData{f, h.nodes.totals()})
	if err != nil {
		return err
	}
	e := event.Stats(text)
	h.stats.latest.Store(&e)
	if h.cfg.Nodes == nil {
		return nil
	}
	if text, err = json.Marshal(f); err == nil {
		h.cfg.Nodes.Publish(text)
	}
	return err
}

func percentile(l latency.Snapshot, p uint64) *float64 {
	d, ok := l.Percentile(p)
	if !ok {
		return nil
	}
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

// memory is how many bytes the Go runtime has from the system and has not returned.
func memory() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
