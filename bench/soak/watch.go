package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"freshet/bench/drive"
)

// figures are what the server is at one moment.
type figures struct {
	drive.Stats
	descriptors int
	resident    uint64 // bytes
}

// watch follows the server's stats on one stream, from before the load until after it: the
// stream is one of the connections of every figure.
type watch struct {
	server *drive.Server
	mu     sync.Mutex
	latest figures
	taken  int
	most   figures // of each figure, the most there has been
}

// run takes the figures until ctx is done.
func (w *watch) run(ctx context.Context) error {
	r, err := drive.Open(ctx, drive.Request{URL: w.server.URL + "/event/stats"})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		frame, err := r.Event("stats")
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the stream of stats: %w", err)
		}
		var f figures
		if err := json.Unmarshal([]byte(frame.Data), &f.Stats); err != nil {
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
		w.taken++
		w.most.Published, w.most.Delivered = f.Published, f.Delivered
		w.most.Connections = max(w.most.Connections, f.Connections)
		w.most.Goroutines = max(w.most.Goroutines, f.Goroutines)
		w.most.Memory = max(w.most.Memory, f.Memory)
		w.most.descriptors = max(w.most.descriptors, f.descriptors)
		w.most.resident = max(w.most.resident, f.resident)
		w.mu.Unlock()
	}
}

func (w *watch) now() (f figures, taken int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.taken
}

// rest waits until the server is at rest, which shows in two figures that are alike, and
// returns the second.
func (w *watch) rest(ctx context.Context) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var before figures
	_, seen := w.now()
	err := drive.Until(ctx, func() bool {
		f, taken := w.now()
		if taken <= seen {
			return false
		}
		same := before.Goroutines == f.Goroutines && before.descriptors == f.descriptors && f.Connections == 1
		before, seen = f, taken
		return same
	})
	if err != nil {
		return before, fmt.Errorf("the server does not come to rest: %w", err)
	}
	return before, nil
}

// How far the figures after the load may be from those before it.
const (
	spareGoroutines  = 5 // of the log's clean-up, which comes and goes
	spareDescriptors = 5 // of the log's files
	// The runtime collects at least every two minutes, and keeps some of what it has freed.
	memoryFactor = 1.5
	spareMemory  = 32 << 20
	backWithin   = 3 * time.Minute
)

// back waits until the figures are back where they began.
func (w *watch) back(ctx context.Context, begin figures) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, backWithin)
	defer cancel()
	_, seen := w.now()
	var left string
	err := drive.Until(ctx, func() bool {
		f, taken := w.now()
		left = f.missing(begin)
		return taken > seen && left == ""
	})
	f, _ := w.now()
	if err != nil {
		return f, fmt.Errorf("%v after the load, %s", backWithin, left)
	}
	return f, nil
}

// missing says what is not back where it began.
func (f figures) missing(begin figures) string {
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
		left = append(left, fmt.Sprintf("%d MiB resident, and %d before", f.resident>>20, begin.resident>>20))
	}
	return strings.Join(left, "; ")
}
