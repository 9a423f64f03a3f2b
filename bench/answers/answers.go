// Package answers measures the answers of language models: many at once, each with a writer that sends its tokens in one request, and a reader.
//
// It measures Freshet beside a server with the npm package resumable-stream and Redis. The servers take turns, and have the same writers and readers.
package answers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"freshet/bench/load"
	"freshet/bench/server"

	"golang.org/x/sync/errgroup"
)

// Command is the measure's command line.
type Command struct {
	Answers int           `default:"1000" quick:"100" help:"Answers at once."`
	Rate    int           `default:"20" help:"Tokens a second of each answer."`
	WarmUp  time.Duration `default:"3s" quick:"500ms" help:"How long tokens are written before the measurement."`
	Load    time.Duration `default:"15s" quick:"1s" help:"How long tokens are written."`
	Rounds  int           `default:"3" quick:"1" help:"Rounds. The figures are medians."`
}

// Validate checks the flags.
func (c *Command) Validate() error {
	if c.Answers < 1 || c.Rate < 1 || c.Rounds < 1 || c.Load < time.Second {
		return errors.New("want at least one answer, one token a second, one round, and --load of one second")
	}
	return nil
}

// variant is one row of the table.
type variant struct {
	name  string
	ours  bool // a lost token is an error
	start func(context.Context) (system, error)
}

// system is the processes of a variant, and how its answers are written and read.
type system struct {
	processes   []*server.Process // the first one serves
	write, read func(answer int) string
	header      string // of the writers' requests
}

// Run measures all variants and prints a table.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	variants := []variant{
		{"Freshet", true, func(ctx context.Context) (system, error) { return startFreshet(ctx, f, "always") }},
		{"Freshet, `--sync 1s`", true, func(ctx context.Context) (system, error) { return startFreshet(ctx, f, "1s") }},
	}
	if rival, err := server.NewResumable(ctx, f); err != nil {
		fmt.Fprintf(os.Stderr, "resumable-stream is not measured: %v\n", err)
	} else {
		variants = append(variants,
			variant{"resumable-stream, first reader", false, func(ctx context.Context) (system, error) { return startResumable(ctx, rival, "") }},
			variant{"resumable-stream, after a reload", false, func(ctx context.Context) (system, error) { return startResumable(ctx, rival, "?reloaded") }})
	}
	rounds := map[string][]figures{}
	for round := range c.Rounds {
		for i := range variants {
			v := variants[(i+round)%len(variants)]
			m, err := c.measure(ctx, v)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			if m.syncErr != nil {
				fmt.Fprintf(os.Stderr, "fsync is not counted: %v\n", m.syncErr)
			}
			rounds[v.name] = append(rounds[v.name], m)
			fmt.Fprintf(os.Stderr, "%s: done\n", v.name)
		}
	}
	fmt.Printf("%d answers at once, %d tokens a second each, for %v; rounds: %d, and the figures are medians\n\n", c.Answers, c.Rate, c.Load, c.Rounds)
	fmt.Print("| | tokens read, a second | fsync, a second | CPU of the server, % of a core | of Redis | p50, ms | p99, ms | lost + repeated |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, v := range variants {
		fmt.Println(row(v.name, rounds[v.name]))
	}
	return nil
}

func startFreshet(ctx context.Context, f *server.Freshet, sync string) (system, error) {
	p, err := f.Start(ctx, "--log-level", "warn", "--max-connections-per-address", "0", "--sync", sync)
	if err != nil {
		return system{}, err
	}
	return system{
		processes: []*server.Process{p},
		write:     func(answer int) string { return fmt.Sprintf("/event/answers.%d?join=text&end", answer) },
		read:      func(answer int) string { return fmt.Sprintf("/event/answers.%d?since=all&merge=text", answer) },
		header:    "Authorization: Bearer " + p.Token + "\r\nIdempotency-Key: answer\r\n",
	}, nil
}

func startResumable(ctx context.Context, rival *server.Resumable, query string) (system, error) {
	node, redis, err := rival.Start(ctx)
	if err != nil {
		return system{}, err
	}
	return system{
		processes: []*server.Process{node, redis},
		write:     func(answer int) string { return fmt.Sprintf("/answers/%d", answer) },
		read:      func(answer int) string { return fmt.Sprintf("/answers/%d%s", answer, query) },
	}, nil
}

// figures has what one round measured.
type figures struct {
	tokens   float64 // read, a second
	syncs    float64 // a second
	syncErr  error   // why they are not counted
	cpu      []float64
	p50, p99 time.Duration
	lost     uint64
	repeated uint64
}

func row(name string, rounds []figures) string {
	of := func(value func(figures) float64) float64 {
		var values []float64
		for _, m := range rounds {
			values = append(values, value(m))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	syncs, redis := "–", "–"
	if rounds[0].syncErr == nil {
		syncs = fmt.Sprintf("%.0f", of(func(m figures) float64 { return m.syncs }))
	}
	if len(rounds[0].cpu) > 1 {
		redis = fmt.Sprintf("%.0f", of(func(m figures) float64 { return m.cpu[1] }))
	}
	var lost, repeated uint64
	for _, m := range rounds {
		lost, repeated = lost+m.lost, repeated+m.repeated
	}
	cells := []string{
		name,
		fmt.Sprintf("%.0f", of(func(m figures) float64 { return m.tokens })),
		syncs,
		fmt.Sprintf("%.0f", of(func(m figures) float64 { return m.cpu[0] })),
		redis,
		fmt.Sprintf("%.1f", of(func(m figures) float64 { return m.p50.Seconds() * 1e3 })),
		fmt.Sprintf("%.1f", of(func(m figures) float64 { return m.p99.Seconds() * 1e3 })),
		fmt.Sprintf("%d + %d", lost, repeated),
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

func (c *Command) measure(ctx context.Context, v variant) (m figures, err error) {
	s, err := v.start(ctx)
	if err != nil {
		return m, err
	}
	defer server.StopAll(s.processes)
	writers, err := c.openWriters(ctx, s)
	defer func() {
		for _, w := range writers {
			w.Close()
		}
	}()
	if err != nil {
		return m, err
	}
	readers, err := load.NewSwarm(load.Config{Target: load.Target{Address: s.processes[0].Address}, Latencies: true, Path: s.read})
	if err != nil {
		return m, err
	}
	defer readers.Close()
	if err := readers.Open(ctx, c.Answers); err != nil {
		return m, err
	}
	if m, err = c.write(ctx, s, writers, readers); err != nil {
		return m, err
	}
	if v.ours && m.lost+m.repeated > 0 {
		return m, fmt.Errorf("%d tokens are lost, %d repeated", m.lost, m.repeated)
	}
	return m, nil
}

// openWriters returns a writer for each answer. Those that were opened are returned with an error too.
func (c *Command) openWriters(ctx context.Context, s system) ([]*load.Writer, error) {
	writers := make([]*load.Writer, c.Answers)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(50)
	for i := range writers {
		g.Go(func() (err error) {
			writers[i], err = load.NewWriter(ctx, s.processes[0].Address, s.write(i), s.header)
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(writers, func(w *load.Writer) bool { return w == nil }), err
}

// write writes tokens, reads them meanwhile, and counts those that no reader got.
func (c *Command) write(ctx context.Context, s system, writers []*load.Writer, readers *load.Swarm) (figures, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	writing, stop := context.WithCancel(ctx)
	written := make(chan error, 1)
	go func() {
		err := c.writeTokens(writing, writers)
		if err != nil {
			cancel() // ends the reading
		}
		written <- err
	}()
	m, err := c.read(ctx, s, readers)
	stop()
	if failed := <-written; failed != nil {
		return m, failed
	}
	if err != nil {
		return m, err
	}
	due := uint64(0)
	for _, w := range writers {
		due += w.Written()
	}
	if _, err := readers.Until(ctx, 10*time.Second, func() bool { return readers.Events >= due }); err != nil {
		return m, err
	}
	m.lost, m.repeated = due-min(readers.Events, due), readers.Repeats
	return m, nil
}

// writeTokens writes at the rate until ctx is done. The writers take turns, so that their tokens are spread evenly.
func (c *Command) writeTokens(ctx context.Context, writers []*load.Writer) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n := 0; ; {
		for due := int(time.Since(began).Seconds() * float64(c.Rate*len(writers))); n < due; n++ {
			if err := writers[n%len(writers)].WriteToken(); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// read reads tokens, and measures after the warm-up.
func (c *Command) read(ctx context.Context, s system, readers *load.Swarm) (m figures, err error) {
	if err := readers.For(ctx, c.WarmUp); err != nil {
		return m, err
	}
	var syncs *server.Syncs
	if syncs, m.syncErr = server.CountSyncs(s.processes...); m.syncErr == nil {
		defer syncs.Close()
	}
	before, err := used(s.processes)
	if err != nil {
		return m, err
	}
	readers.Latencies = nil
	began, events := time.Now(), readers.Events
	if err := readers.For(ctx, c.Load); err != nil {
		return m, err
	}
	took := time.Since(began).Seconds()
	after, err := used(s.processes)
	if err != nil {
		return m, err
	}
	for i := range after {
		m.cpu = append(m.cpu, (after[i]-before[i]).Seconds()/took*100)
	}
	if m.syncErr == nil {
		n, err := syncs.Count()
		if err != nil {
			return m, err
		}
		m.syncs = float64(n) / took
	}
	m.tokens = float64(readers.Events-events) / took
	m.p50, m.p99 = readers.Quantile(.5), readers.Quantile(.99)
	return m, nil
}

// used is the processor time that each process has used.
func used(processes []*server.Process) (times []time.Duration, err error) {
	for _, p := range processes {
		t, err := p.CPU()
		if err != nil {
			return nil, err
		}
		times = append(times, t)
	}
	return times, nil
}
