// Command soak runs a mixed load on a server for a given time, and fails if the server is
// then not what it was before.
//
// It builds the server, starts it as a process of its own with a small log and window in a
// data folder that it removes, and warms it up. Then events are published one by one and
// in bulk, on thousands of topics; readers stay, come and go, resume, read too slowly or
// come back too late; history is read, and the server is sent what it must refuse. Readers
// that stay must get every event that they are due; all others, too, each once and in
// order, or be told of a gap. It ends with exit code 1 where a reader did not, and where
// goroutines, descriptors, memory or connections do not come back to where they began.
//
//	go run ./bench/soak [--for 15m] [--binary FILE]
//
// It runs on Linux, whose /proc it asks for the server's memory and descriptors.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"freshet/bench/drive"

	"golang.org/x/sync/errgroup"
)

func main() {
	d := flag.Duration("for", 15*time.Minute, "time that the load goes on, 10s or more")
	binary := flag.String("binary", "", "Freshet binary to measure; default: build this source")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *binary, *d)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, d time.Duration) error {
	if d < 10*time.Second {
		return errors.New("--for: too short")
	}
	server, end, err := drive.Fresh(ctx, binary, "--log-level", "warn", "--retain-bytes", "16MiB", "--window-bytes", "4MiB",
		"--max-connections", "80", "--max-replays", "8", "--heartbeat", "1s", "--retry", "50ms-200ms")
	if err != nil {
		return err
	}
	defer end()

	w := &watch{server: server}
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	g.Go(func() error { return w.run(ctx) })
	g.Go(func() error {
		defer stop()
		return soak(ctx, w, d)
	})
	err = g.Wait()
	if log := server.Log(); err != nil && log != "" {
		err = fmt.Errorf("%w; the server's log: %s", err, log)
	}
	return err
}

// soak warms up, takes the figures, runs the load, and takes them again.
func soak(ctx context.Context, w *watch, d time.Duration) error {
	const warmUp = 8 * time.Second
	if err := runFor(ctx, newLoad(w.server, "w"), warmUp); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	begin, err := w.rest(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%8s %10s %11s %12s %11s %12s %13s %12s\n", "", "published", "delivered", "connections", "goroutines", "descriptors", "resident MiB", "runtime MiB")
	line("before", begin)
	l := newLoad(w.server, "m")
	printing, stop := context.WithCancel(ctx)
	defer stop()
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		timeline(printing, w, d/15)
	}()
	err = runFor(ctx, l, d)
	stop()
	<-printed
	line("most", w.most)
	if err != nil {
		return err
	}
	end, err := w.back(ctx, begin)
	line("after", end)
	fmt.Printf("%d events were acknowledged; steady readers got %d, which is all; of %d other streams the server ended %d, %d of them stalled; %d gaps told, %d keys repeated, %d pages of history, %d refusals\n",
		l.published.Load(), l.seen.Load(), l.opened.Load(), l.cutOff.Load(), end.Stalled-begin.Stalled, l.gaps.Load(), l.repeats.Load(), l.pages.Load(), l.refusals.Load())
	return err
}

func runFor(ctx context.Context, l *load, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return l.run(ctx)
}

// timeline prints the figures now and then.
func timeline(ctx context.Context, w *watch, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-tick.C:
			f, _ := w.now()
			line(time.Since(start).Round(time.Second).String(), f)
		case <-ctx.Done():
			return
		}
	}
}

func line(when string, f figures) {
	fmt.Printf("%8s %10d %11d %12d %11d %12d %13d %12d\n", when, f.Published, f.Delivered, f.Connections, f.Goroutines, f.descriptors, f.resident>>20, f.Memory>>20)
}
