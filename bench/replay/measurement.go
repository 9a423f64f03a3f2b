package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"freshet/bench/drive"

	"golang.org/x/sync/errgroup"
)

// meanwhile is how many events a second are published while readers read.
const meanwhile = 1000

// memoryLimit is the most memory that the server may have for the readers at once. JetStream
// keeps what was read in the last ten seconds, which is all of the log here, and the runtime
// lets the heap double before it collects.
const memoryLimit = 3 << 29

// measurement is one run of the command.
type measurement struct {
	options
	server    *drive.Server
	publisher *publisher
	memory    atomic.Uint64 // the most that the server had since this was last set to 0
}

// run fills the log and measures while publishing goes on.
func (m *measurement) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	g.Go(func() error { return m.watchMemory(ctx) })
	g.Go(func() error {
		defer stop()
		fmt.Printf("%-34s %12s %9s %10s %10s %10s\n", "", "events", "seconds", "events/s", "server's s", "its MiB")
		if _, err := m.row("filling the log", func() (int, error) { return int(m.events), m.publisher.fill(ctx) }); err != nil {
			return err
		}
		g.Go(func() error { return m.publisher.goOn(ctx, meanwhile) })
		return m.readers(ctx)
	})
	return g.Wait()
}

// readers measures the readers and holds them to the limits.
func (m *measurement) readers(ctx context.Context) error {
	p := m.publisher
	deep, err := m.row("one reader from the start", func() (int, error) { return reader{p.all(), 0}.read(ctx, p) })
	if err != nil {
		return err
	}
	rare, err := m.row("one of a rare topic from the start", func() (int, error) { return reader{p.rareTopic(), 0}.read(ctx, p) })
	if err != nil {
		return err
	}
	if _, err := m.row(fmt.Sprintf("%d readers at random depths", m.options.readers), func() (int, error) { return m.atOnce(ctx) }); err != nil {
		return err
	}
	used := m.memory.Load()
	switch {
	case rare.events != rareEvents:
		return fmt.Errorf("the rare topic has %d events, not %d", rare.events, rareEvents)
	case used > memoryLimit:
		return fmt.Errorf("the server had %d MiB for %d readers, more than %d", used>>20, m.options.readers, memoryLimit>>20)
	case m.limit == 0:
		return nil
	case deep.rate() < m.limit:
		return fmt.Errorf("one reader got %.0f events/s, less than %.0f", deep.rate(), m.limit)
	case rare.elapsed > deep.elapsed/20:
		return fmt.Errorf("a rare topic took %v, more than a twentieth of reading all", rare.elapsed)
	}
	return nil
}

// atOnce reads with many readers, most of one topic, some of ten and a few of all, each
// from a random place, and returns how many events they got.
func (m *measurement) atOnce(ctx context.Context) (int, error) {
	var events atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for n := range m.options.readers {
		r := reader{m.publisher.hundredth(rand.Uint64N(100)), rand.Uint64N(m.events)} //nolint:gosec // no secret
		switch {
		case n%25 == 0:
			r.selection = m.publisher.all()
		case n%5 == 0:
			r.selection = m.publisher.tenth(rand.Uint64N(10)) //nolint:gosec // no secret
		}
		g.Go(func() error {
			got, err := r.read(ctx, m.publisher)
			events.Add(int64(got))
			return err
		})
	}
	err := g.Wait()
	return int(events.Load()), err
}

// row is one line of the table.
type row struct {
	events  int
	elapsed time.Duration
}

func (r row) rate() float64 { return float64(r.events) / r.elapsed.Seconds() }

func (m *measurement) row(what string, do func() (events int, err error)) (row, error) {
	before, err := m.server.CPU()
	if err != nil {
		return row{}, err
	}
	m.memory.Store(0)
	if err := m.look(); err != nil {
		return row{}, err
	}
	start := time.Now()
	events, err := do()
	r := row{events, time.Since(start)}
	if err != nil {
		return r, err
	}
	used, err := m.server.CPU()
	fmt.Printf("%-34s %12d %9.3f %10.0f %10.2f %10d\n", what, r.events, r.elapsed.Seconds(), r.rate(), (used - before).Seconds(), m.memory.Load()>>20)
	return r, err
}

// watchMemory looks at the server's memory until ctx is done.
func (m *measurement) watchMemory(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := m.look(); err != nil {
			return err
		}
	}
}

func (m *measurement) look() error {
	now, err := m.server.Memory()
	m.memory.Store(max(m.memory.Load(), now))
	return err
}
