//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"freshet/bench/load"
)

// topic is what events are published to.
const topic = "bench"

// patience is how long nothing may arrive before what is missing is lost.
const patience = 10 * time.Second

// measure is one kind of load, put on one server in a process of its own.
type measure struct {
	name    string
	servers []string // that can do it; nil: all
	run     func(ctx context.Context, b *bench, name string) (sample, error)
}

// sample is what one run of a measure has found: figures by the names of [figureKinds].
type sample struct {
	figures        map[string]float64
	lost, repeated uint64 // deliveries
}

func measures() []measure {
	return []measure{
		{"readers", nil, measureReaders},
		{"flood", nil, measureFlood},
		{"latency", nil, measureLatency},
		{"counter", []string{minimal, freshet, freshetStream}, measureCounter},
		{"storm", []string{freshet, freshetStream, goSSE, r3labs}, measureStorm},
		{"publish", nil, measurePublish},
	}
}

func measureNames() (names []string) {
	for _, m := range measures() {
		names = append(names, m.name)
	}
	return names
}

// bench is one run of the command.
type bench struct {
	options
	dir     string // for what is removed at the end
	freshet string // path of the program
	self    string // path of this program
}

// rounds measures everything as often as there are rounds. In each the servers take turns,
// and another one begins.
func (b *bench) rounds(ctx context.Context, r *results) error {
	for round := range b.Rounds {
		for _, m := range measures() {
			if !slices.Contains(b.Only, m.name) {
				continue
			}
			for i := range b.Against {
				name := b.Against[(i+round)%len(b.Against)]
				if m.servers != nil && !slices.Contains(m.servers, name) || slices.Contains(r.LeftOut, name) {
					continue
				}
				begin := time.Now()
				s, err := m.run(ctx, b, name)
				if errors.Is(err, errNotHere) {
					r.LeftOut = append(r.LeftOut, name)
					continue
				}
				if err != nil && (ctx.Err() != nil || ours(name)) {
					return fmt.Errorf("%s of %s: %w", m.name, name, err)
				}
				if err != nil { // another's failure is a figure less
					fmt.Fprintf(os.Stderr, "round %d of %d: %s of %s: %v\n", round+1, b.Rounds, m.name, name, err)
					continue
				}
				r.add(name, s)
				fmt.Fprintf(os.Stderr, "round %d of %d: %-8s of %-14s %5.1f s%s\n", round+1, b.Rounds, m.name, name, time.Since(begin).Seconds(), s.losses())
			}
		}
		if err := r.writeJSON(b.json); err != nil { // a later round may be broken off
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

// publishing publishes in a goroutine of its own while the readers are read.
type publishing struct {
	published atomic.Uint64 // events that were acknowledged
	read      atomic.Uint64 // deliveries, as the reading side tells them
	over      chan struct{}
	err       error // once it is over
}

// maxAhead is how many events a flood is ahead of the readers, on average, at most: a server
// that acknowledges at once would else have no end of it.
const maxAhead = 100

// pace says how events are published.
type pace struct {
	every   time.Duration // 0: as soon as the one before is acknowledged
	d       time.Duration
	readers int // that publishing must not be more than maxAhead events ahead of; 0: no bound
}

// publish begins to publish. The caller waits for its end.
func publish(ctx context.Context, s *server, p pace) *publishing {
	w := &publishing{over: make(chan struct{})}
	go func() {
		defer close(w.over)
		w.err = w.run(ctx, s, p)
	}()
	return w
}

func (w *publishing) run(ctx context.Context, s *server, p pace) error {
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

// readAll reads until all of the readers have all that is published.
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

// account is the sample of figures, with what the swarm has lost of what was due.
func account(swarm *load.Swarm, due uint64, figures map[string]float64) sample {
	return sample{figures: figures, lost: max(due, swarm.Events) - swarm.Events, repeated: swarm.Repeats}
}
