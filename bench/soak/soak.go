// Package soak runs a mixed load on Freshet for a given time, and fails if anything of it is left
// afterwards.
//
// It starts Freshet with a small log and window and warms it up. Then publishers publish single
// events and bulk requests on thousands of topics. Readers stay, come and go, resume, read too
// slowly, or come back too late. Others read history, and send requests that the server must
// refuse. Readers that stay must get every event of theirs. All others must get each event at most
// once and in order, and a gap where events are missing. The run fails if a reader did not, or if
// goroutines, descriptors, memory or connections do not return to where they began.
package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet/bench/server"

	"golang.org/x/sync/errgroup"
)

// Command is the measure's command line.
type Command struct {
	For time.Duration `default:"15m" quick:"20s" help:"How long the load lasts, 10s or more."`
}

// Validate checks the flags.
func (c *Command) Validate() error {
	if c.For < 10*time.Second {
		return errors.New("--for must be 10s or more")
	}
	return nil
}

// Run runs the load and prints the figures before, during and after it.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	p, err := f.Start(ctx, "--log-level", "warn", "--retain-bytes", "16MiB", "--window-bytes", "4MiB",
		"--max-connections", "80", "--max-replays", "8", "--heartbeat", "1s", "--retry", "50ms-200ms")
	if err != nil {
		return err
	}
	defer p.Stop()

	w := &watch{server: p}
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	g.Go(func() error { return w.run(ctx) })
	g.Go(func() error {
		defer stop()
		return soak(ctx, w, c.For)
	})
	err = g.Wait()
	if log := p.Log(); err != nil && log != "" {
		err = fmt.Errorf("%w; the server's log: %s", err, log)
	}
	return err
}

// soak warms the server up, measures it, runs the load, and measures it again.
func soak(ctx context.Context, w *watch, d time.Duration) error {
	const warmUp = 8 * time.Second
	warm, err := newLoad(w.server, "w")
	if err == nil {
		err = warm.runFor(ctx, warmUp)
	}
	if err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	begin, err := w.idle(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%8s %10s %11s %12s %11s %12s %13s %12s\n", "", "published", "delivered", "connections", "goroutines", "descriptors", "resident MiB", "runtime MiB")
	printLine("before", begin)
	l, err := newLoad(w.server, "m")
	if err != nil {
		return err
	}
	printing, stop := context.WithCancel(ctx)
	defer stop()
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		printTimeline(printing, w, d/15)
	}()
	err = l.runFor(ctx, d)
	stop()
	<-printed
	printLine("most", w.most)
	if err != nil {
		return err
	}
	end, err := w.returned(ctx, begin)
	printLine("after", end)
	fmt.Printf("%d events were acknowledged, and steady readers got all of theirs, %d; the server ended %d of %d other streams, %d because they stalled; there were %d gaps, %d repeated keys, %d pages of history and %d refusals\n",
		l.published.Load(), l.seen.Load(), l.disconnected.Load(), l.opened.Load(), end.Stalled-begin.Stalled, l.gaps.Load(), l.repeats.Load(), l.pages.Load(), l.refusals.Load())
	return err
}

// printTimeline prints the figures at intervals.
func printTimeline(ctx context.Context, w *watch, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-tick.C:
			f, _ := w.now()
			printLine(time.Since(start).Round(time.Second).String(), f)
		case <-ctx.Done():
			return
		}
	}
}

func printLine(when string, f figures) {
	fmt.Printf("%8s %10d %11d %12d %11d %12d %13d %12d\n", when, f.Published, f.Delivered, f.Connections, f.Goroutines, f.descriptors, f.resident>>20, f.Memory>>20)
}
