package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"freshet/bench/server"
	"freshet/client"
	"freshet/event"
)

// figures describe the server at one time.
type figures struct {
	stats
	descriptors int
	resident    uint64 // bytes
}

// stats are the figures that come from the topic stats.
type stats struct {
	Connections int    `json:"connections"`
	Published   uint64 `json:"published"`
	Delivered   uint64 `json:"delivered"`
	Memory      uint64 `json:"memory_bytes"`
	Goroutines  int    `json:"goroutines"`
	Stalled     uint64 `json:"stalled"`
}

// watch reads the server's stats on one stream from before the load until after it. This stream is
// one of the connections in every figure.
type watch struct {
	server *server.Process
	mu     sync.Mutex
	latest figures
	count  int     // of figures so far
	most   figures // the maximum of each figure
}

// run updates the figures until ctx is done.
func (w *watch) run(ctx context.Context) error {
	c, err := client.New(client.Config{URL: w.server.URL()})
	if err != nil {
		return err
	}
	r, err := c.Open(ctx, subscription("stats", "", event.ID{}))
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		frame, err := r.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the stream of stats: %w", err)
		}
		if !frame.HasData || frame.Type != "stats" {
			continue
		}
		var f figures
		if err := json.Unmarshal([]byte(frame.Data), &f.stats); err != nil {
			return err
		}
		if f.descriptors, err = w.server.Descriptors(); err != nil {
			return err
		}
		if f.resident, err = w.server.Memory(); err != nil {
			return err
		}
		w.mu.Lock()
		w.latest = f
		w.count++
		w.most.Published, w.most.Delivered = f.Published, f.Delivered
		w.most.Connections = max(w.most.Connections, f.Connections)
		w.most.Goroutines = max(w.most.Goroutines, f.Goroutines)
		w.most.Memory = max(w.most.Memory, f.Memory)
		w.most.descriptors = max(w.most.descriptors, f.descriptors)
		w.most.resident = max(w.most.resident, f.resident)
		w.mu.Unlock()
	}
}

func (w *watch) now() (f figures, count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.count
}

// idle waits until two figures in a row are equal, and returns the second.
func (w *watch) idle(ctx context.Context) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var before figures
	_, seen := w.now()
	idle := until(ctx, func() bool {
		f, count := w.now()
		if count <= seen {
			return false
		}
		same := before.Goroutines == f.Goroutines && before.descriptors == f.descriptors && f.Connections == 1
		before, seen = f, count
		return same
	})
	if !idle {
		return before, fmt.Errorf("the server does not become idle: %w", ctx.Err())
	}
	return before, nil
}

// How far the figures after the load may be from those before it.
const (
	spareGoroutines  = 5 // the log's clean-up, which comes and goes
	spareDescriptors = 5 // the log's files
	// The runtime collects garbage at least every two minutes, and keeps some freed memory.
	memoryFactor = 1.5
	spareMemory  = 32 << 20
	returnWithin = 3 * time.Minute
)

// returned waits until the figures have returned to where they began.
func (w *watch) returned(ctx context.Context, begin figures) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, returnWithin)
	defer cancel()
	_, seen := w.now()
	var left string
	returned := until(ctx, func() bool {
		f, count := w.now()
		left = f.compare(begin)
		return count > seen && left == ""
	})
	f, _ := w.now()
	if !returned {
		return f, fmt.Errorf("%v after the load there are %s", returnWithin, left)
	}
	return f, nil
}

// compare lists the figures that have not returned to where they began.
func (f figures) compare(begin figures) string {
	var left []string
	if f.Connections != begin.Connections {
		left = append(left, fmt.Sprintf("%d connections, and %d before", f.Connections, begin.Connections))
	}
	if f.Goroutines > begin.Goroutines+spareGoroutines {
		left = append(left, fmt.Sprintf("%d goroutines, and %d before", f.Goroutines, begin.Goroutines))
	}
	if f.descriptors > begin.descriptors+spareDescriptors {
		left = append(left, fmt.Sprintf("%d descriptors, and %d before", f.descriptors, begin.descriptors))
	}
	if float64(f.resident) > memoryFactor*float64(begin.resident)+spareMemory {
		left = append(left, fmt.Sprintf("%d MiB of resident memory, and %d before", f.resident>>20, begin.resident>>20))
	}
	return strings.Join(left, "; ")
}
