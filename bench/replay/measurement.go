package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"freshet/bench/server"
	"freshet/client"

	"golang.org/x/sync/errgroup"
)

// liveRate is how many events a second are published while readers read.
const liveRate = 1000

// memoryLimit is the most memory that the server may use for all readers together. JetStream
// caches what was read in the last ten seconds, which is the whole log here, and the runtime
// lets the heap double before it collects garbage.
const memoryLimit = 3 << 29

// measurement is one run of the command.
type measurement struct {
	*Command
	server    *server.Process
	reading   *client.Client
	publisher *publisher
	memory    atomic.Uint64 // the most that the server used since this was last set to 0
}

// run fills the log and measures while publishing goes on.
func (m *measurement) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	g.Go(func() error { return m.watchMemory(ctx) })
	g.Go(func() error {
		defer stop()
		fmt.Printf("%-34s %12s %9s %10s %10s %10s\n", "", "events", "seconds", "events/s", "server's s", "its MiB")
		if _, err := m.row("filling the log", func() (int, error) { return int(m.Events), m.publisher.fill(ctx) }); err != nil {
			return err
		}
		g.Go(func() error { return m.publisher.publishSteadily(ctx, liveRate) })
		return m.measureReaders(ctx)
	})
	return g.Wait()
}

// measureReaders measures the readers and compares the figures with the limits.
func (m *measurement) measureReaders(ctx context.Context) error {
	p := m.publisher
	deep, err := m.row("one reader from the start", func() (int, error) { return reader{p.all(), 0}.read(ctx, m.reading, p) })
	if err != nil {
		return err
	}
	rare, err := m.row("one of a rare topic from the start", func() (int, error) { return reader{p.rareTopic(), 0}.read(ctx, m.reading, p) })
	if err != nil {
		return err
	}
	if _, err := m.row(fmt.Sprintf("%d readers at random depths", m.Readers), func() (int, error) { return m.readTogether(ctx) }); err != nil {
		return err
	}
	used := m.memory.Load()
	switch {
	case rare.events != rareEvents:
		return fmt.Errorf("the rare topic has %d events, not %d", rare.events, rareEvents)
	case used > memoryLimit:
		return fmt.Errorf("the server used %d MiB for %d readers, more than %d", used>>20, m.Readers, memoryLimit>>20)
	case m.Limit == 0:
		return nil
	case deep.rate() < m.Limit:
		return fmt.Errorf("one reader got %.0f events/s, less than %.0f", deep.rate(), m.Limit)
	case rare.elapsed > deep.elapsed/20:
		return fmt.Errorf("a rare topic took %v, more than a twentieth of reading all", rare.elapsed)
	}
	return nil
}

// readTogether starts many readers, most of one topic, some of ten and a few of all, each from a
// random event, and returns how many events they got.
func (m *measurement) readTogether(ctx context.Context) (int, error) {
	var events atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for n := range m.Readers {
		r := reader{m.publisher.hundredth(rand.Uint64N(100)), rand.Uint64N(m.Events)} //nolint:gosec // not a secret
		switch {
		case n%25 == 0:
			r.selection = m.publisher.all()
		case n%5 == 0:
			r.selection = m.publisher.tenth(rand.Uint64N(10)) //nolint:gosec // not a secret
		}
		g.Go(func() error {
			got, err := r.read(ctx, m.reading, m.publisher)
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

// row runs the function and prints its line.
func (m *measurement) row(what string, do func() (events int, err error)) (row, error) {
	before, err := m.server.CPU()
	if err != nil {
		return row{}, err
	}
	m.memory.Store(0)
	if err := m.measureMemory(); err != nil {
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

// watchMemory measures the server's memory until ctx is done.
func (m *measurement) watchMemory(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := m.measureMemory(); err != nil {
			return err
		}
	}
}

func (m *measurement) measureMemory() error {
	now, err := m.server.Memory()
	m.memory.Store(max(m.memory.Load(), now))
	return err
}
