package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"freshet/bench/load"
	"freshet/bench/server"
)

// topic is the topic of every event.
const topic = "bench"

// patience is how long nothing may arrive before the missing events count as lost.
const patience = 10 * time.Second

// workload is one kind of load. Each run of it has a new server process.
type workload struct {
	name    string
	servers []string // that support it; nil: all
	run     func(ctx context.Context, b *bench, name string) (sample, error)
}

// sample is the result of one run of a workload: figures by the names of [figureKinds].
type sample struct {
	figures        map[string]float64
	lost, repeated uint64 // deliveries
}

func workloads() []workload {
	return []workload{
		{"readers", nil, measureReaders},
		{"flood", nil, measureFlood},
		{"latency", nil, measureLatency},
		{"counter", []string{minimal, freshet, freshetStream}, measureCounter},
		{"storm", []string{freshet, freshetStream, goSSE, r3labs}, measureStorm},
		{"publish", nil, measurePublish},
	}
}

// bench is one run of the command.
type bench struct {
	*Command
	freshet *server.Freshet
	self    string // path of this program
}

// rounds runs the workloads of every round. The servers take turns, and each round begins with
// another one.
func (b *bench) rounds(ctx context.Context, r *results) error {
	for round := range b.Rounds {
		for _, w := range workloads() {
			if !slices.Contains(b.Only, w.name) {
				continue
			}
			for i := range b.Against {
				name := b.Against[(i+round)%len(b.Against)]
				if w.servers != nil && !slices.Contains(w.servers, name) || slices.Contains(r.Skipped, name) {
					continue
				}
				begin := time.Now()
				s, err := w.run(ctx, b, name)
				if errors.Is(err, server.ErrNotInstalled) {
					r.Skipped = append(r.Skipped, name)
					continue
				}
				if err != nil && (ctx.Err() != nil || ours(name)) {
					return fmt.Errorf("%s of %s: %w", w.name, name, err)
				}
				if err != nil { // a rival that fails only lacks the figure
					fmt.Fprintf(os.Stderr, "round %d of %d: %s of %s: %v\n", round+1, b.Rounds, w.name, name, err)
					continue
				}
				r.add(name, s)
				fmt.Fprintf(os.Stderr, "round %d of %d: %-8s of %-14s %5.1f s%s\n", round+1, b.Rounds, w.name, name, time.Since(begin).Seconds(), s.losses())
			}
		}
		if err := r.writeJSON(b.JSON); err != nil { // a later round may be interrupted
			return err
		}
	}
	return nil
}

func (s sample) losses() string {
	if s.lost+s.repeated == 0 {
		return ""
	}
	return fmt.Sprintf(", %d deliveries lost, %d repeated", s.lost, s.repeated)
}

// publishing publishes in its own goroutine while the readers are read.
type publishing struct {
	published atomic.Uint64 // events that were acknowledged
	read      atomic.Uint64 // deliveries so far, stored by the reading side
	over      chan struct{}
	err       error // once it is over
}

// maxAhead is how many events a flood may be ahead of the readers on average. Without it, a
// server that acknowledges at once would never be read empty.
const maxAhead = 100

// pace says how events are published.
type pace struct {
	every   time.Duration // 0: as soon as the previous one is acknowledged
	d       time.Duration
	readers int // that publishing must not be more than maxAhead events ahead of; 0: no limit
}

// publish starts publishing. The caller waits for its end.
func publish(ctx context.Context, s *instance, p pace) *publishing {
	w := &publishing{over: make(chan struct{})}
	go func() {
		defer close(w.over)
		w.err = w.run(ctx, s, p)
	}()
	return w
}

func (w *publishing) run(ctx context.Context, s *instance, p pace) error {
	publisher, err := load.NewPublisher(ctx, s.target)
	if err != nil {
		return err
	}
	defer publisher.Close()
	readers := uint64(p.readers)
	begin := time.Now()
	for n := uint64(1); time.Since(begin) < p.d && ctx.Err() == nil; n++ {
		if p.every > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(n-1) * p.every)))
		}
		for readers*(n-1) > w.read.Load()+readers*maxAhead && time.Since(begin) < p.d {
			time.Sleep(100 * time.Microsecond)
		}
		if _, err := publisher.Publish(n); err != nil {
			return err
		}
		w.published.Store(n)
	}
	return ctx.Err()
}

// readAll reads until all readers have every published event.
func (w *publishing) readAll(ctx context.Context, swarm *load.Swarm, readers int) error {
	over := false
	_, err := swarm.Until(ctx, patience, func() bool {
		w.read.Store(swarm.Events)
		if !over {
			select {
			case <-w.over:
				over = true
			default:
				return false
			}
		}
		return w.err != nil || swarm.Events >= w.published.Load()*uint64(readers)
	})
	<-w.over
	return errors.Join(err, w.err)
}

// newSample returns the figures with the deliveries that the swarm has lost of those that were due.
func newSample(swarm *load.Swarm, due uint64, figures map[string]float64) sample {
	return sample{figures: figures, lost: max(due, swarm.Events) - swarm.Events, repeated: swarm.Repeats}
}
