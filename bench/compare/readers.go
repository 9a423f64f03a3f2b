package compare

import (
	"context"
	"fmt"
	"time"

	"freshet/bench/load"
)

// open starts the server and opens readers. The caller calls stop, even after an error.
func (b *bench) open(ctx context.Context, name string, cfg load.Config, readers int, flags ...string) (s *instance, swarm *load.Swarm, stop func(), err error) {
	stop = func() {}
	if s, err = b.start(ctx, name, flags...); err != nil {
		return nil, nil, stop, err
	}
	stop = s.Stop
	cfg.Target = s.target
	if cfg.Counter {
		cfg.Target.Read = s.counter
	}
	if swarm, err = load.NewSwarm(cfg); err != nil {
		return nil, nil, stop, err
	}
	stop = func() {
		swarm.Close()
		s.Stop()
	}
	return s, swarm, stop, swarm.Open(ctx, readers)
}

// usage is the processor time that a server had used at some time.
type usage struct {
	s     *instance
	begin time.Time
	cpu   time.Duration
}

func (s *instance) usage() (usage, error) {
	cpu, err := s.CPU()
	return usage{s, time.Now(), cpu}, err
}

// since returns the processor time used since then, and how long ago that was.
func (u usage) since() (cpu, elapsed time.Duration, err error) {
	now, err := u.s.CPU()
	return now - u.cpu, time.Since(u.begin), err
}

// measureReaders opens readers, leaves them idle, and then sends them five events a second.
func measureReaders(ctx context.Context, b *bench, name string) (sample, error) {
	s, err := b.start(ctx, name)
	if err != nil {
		return sample{}, err
	}
	defer s.Stop()
	swarm, err := load.NewSwarm(load.Config{Target: s.target})
	if err != nil {
		return sample{}, err
	}
	defer swarm.Close()
	if err := swarm.For(ctx, b.Settle/5); err != nil { // the start's cost is not the readers'
		return sample{}, err
	}
	empty, err := s.Memory()
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	if err := swarm.Open(ctx, b.Readers); err != nil {
		return sample{}, err
	}
	opening := time.Since(begin)
	idle, err := b.idle(ctx, s, swarm)
	if err != nil {
		return sample{}, err
	}
	full, err := s.Memory()
	if err != nil {
		return sample{}, err
	}
	before, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	const every = 200 * time.Millisecond
	w := publish(ctx, s, pace{every: every, d: b.Load})
	if err := w.readAll(ctx, swarm, b.Readers); err != nil {
		return sample{}, err
	}
	cpu, elapsed, err := before.since()
	if err != nil {
		return sample{}, err
	}
	due := w.published.Load() * uint64(b.Readers)
	return newSample(swarm, due, map[string]float64{
		"memory":  (float64(full) - float64(empty)) / float64(b.Readers),
		"opened":  float64(b.Readers) / opening.Seconds(),
		"cpu_5hz": micros(cpu-idle.during(elapsed)) / float64(due),
	}), nil
}

// share is a share of one processor's time.
type share float64

func (f share) during(d time.Duration) time.Duration { return time.Duration(float64(f) * float64(d)) }

// idle waits until the readers have settled, and returns the share of processor time that the server then uses.
func (b *bench) idle(ctx context.Context, s *instance, swarm *load.Swarm) (share, error) {
	if err := swarm.For(ctx, b.Settle*3/5); err != nil {
		return 0, err
	}
	before, err := s.usage()
	if err != nil {
		return 0, err
	}
	if err := swarm.For(ctx, b.Settle*2/5); err != nil {
		return 0, err
	}
	cpu, elapsed, err := before.since()
	if err != nil {
		return 0, err
	}
	if swarm.Ended > 0 {
		return 0, fmt.Errorf("the server disconnected %d idle readers", swarm.Ended)
	}
	return share(cpu.Seconds() / elapsed.Seconds()), nil
}

func micros(d time.Duration) float64 { return d.Seconds() * 1e6 }

// measureFlood publishes the next event as soon as the last one is answered. Here Freshet answers
// without waiting for the disk, because the rivals do not wait for one either.
func measureFlood(ctx context.Context, b *bench, name string) (sample, error) {
	s, swarm, stop, err := b.open(ctx, name, load.Config{}, b.Readers, "--sync", "1m")
	defer stop()
	if err != nil {
		return sample{}, err
	}
	idle, err := b.idle(ctx, s, swarm)
	if err != nil {
		return sample{}, err
	}
	before, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	w := publish(ctx, s, pace{d: b.Load, readers: b.Readers})
	if err := w.readAll(ctx, swarm, b.Readers); err != nil {
		return sample{}, err
	}
	cpu, elapsed, err := before.since()
	if err != nil {
		return sample{}, err
	}
	due := w.published.Load() * uint64(b.Readers)
	return newSample(swarm, due, map[string]float64{
		"cpu_flood":  micros(cpu-idle.during(elapsed)) / float64(due),
		"deliveries": float64(swarm.Events) / swarm.Last.Sub(before.begin).Seconds(),
	}), nil
}

// measureCounter measures the topic counter, where each reader gets its own count every second.
func measureCounter(ctx context.Context, b *bench, name string) (sample, error) {
	s, swarm, stop, err := b.open(ctx, name, load.Config{Counter: true}, b.Readers)
	defer stop()
	if err != nil {
		return sample{}, err
	}
	if err := swarm.For(ctx, max(b.Settle*2/5, time.Second)); err != nil {
		return sample{}, err
	}
	before, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	counted := swarm.Events
	if err := swarm.For(ctx, max(b.Load, 2*time.Second)); err != nil {
		return sample{}, err
	}
	cpu, elapsed, err := before.since()
	if err != nil {
		return sample{}, err
	}
	counted = swarm.Events - counted
	// A reader's counts may come at any moment of a second, so one of them may fall outside the
	// measured time. The machine may be late with another one.
	due := uint64(max(0, elapsed.Seconds()-2)) * uint64(b.Readers)
	figures := map[string]float64{"cpu_counter": micros(cpu) / float64(max(counted, 1))}
	return sample{figures: figures, lost: swarm.Missing + max(due, counted) - counted, repeated: swarm.Repeats}, nil
}
