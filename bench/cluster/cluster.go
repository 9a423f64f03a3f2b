// Package cluster compares several Freshet nodes on a cluster of NATS servers with one node for the same readers.
//
// Each reader reads one of the topics. A publisher at each node publishes to its share of the topics at a fixed rate. Every reader
// must get each of its events once and in order, whatever node it reads from.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"freshet/bench/load"
	"freshet/bench/server"

	"golang.org/x/sync/errgroup"
)

// Command is the measure's command line.
type Command struct {
	Nodes   int           `default:"3" help:"Nodes beside each other."`
	Readers int           `default:"9000" quick:"300" help:"Readers in all."`
	Topics  int           `default:"100" quick:"10" help:"Topics in all. Each reader reads one."`
	Rate    int           `default:"200" help:"Events a second in all."`
	Settle  time.Duration `default:"5s" quick:"500ms" help:"Time between opening the streams and publishing."`
	Load    time.Duration `default:"20s" quick:"1s" help:"How long events are published."`
}

// Validate checks the flags.
func (c *Command) Validate() error {
	if c.Nodes < 1 || c.Rate < 1 || c.Topics < c.Nodes || c.Readers < c.Nodes*c.Topics {
		return errors.New("want at least one node, a topic for each node, and a reader of each topic at each node")
	}
	return nil
}

// layout is what one row of the table measures.
type layout struct {
	name        string
	nodes, nats int // no NATS servers: the embedded log
}

// Run measures all layouts and prints a table.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	var rows strings.Builder
	for _, l := range []layout{{"one node, embedded log", 1, 0}, {"one node, three NATS servers", 1, 3}, {fmt.Sprintf("%d nodes, three NATS servers", c.Nodes), c.Nodes, 3}} {
		m, err := c.measure(ctx, f, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		fmt.Fprintf(&rows, "| %s | %d | %.1f | %.1f | %.0f | %.1f | %.1f |\n", l.name, c.Readers/l.nodes, m.node*100, m.nats*100, m.memory/(1<<20), m.p50, m.p99)
		fmt.Fprintf(os.Stderr, "%s: done\n", l.name)
	}
	fmt.Printf("%d readers, %d topics, %d events and %d deliveries a second\n\n", c.Readers, c.Topics, c.Rate, c.Rate*c.Readers/c.Topics)
	fmt.Printf("| | readers a node | CPU a node, %% of a core | CPU of a NATS server, %% of a core | memory a node, MiB | latency p50, ms | latency p99, ms |\n|---|---:|---:|---:|---:|---:|---:|\n%s", &rows)
	return nil
}

// measured is what a layout costs while events are published.
type measured struct {
	node, nats float64 // processor time of one process, cores
	memory     float64 // of one node, bytes (PSS)
	p50, p99   float64 // publish call to read, ms
}

func (c *Command) measure(ctx context.Context, f *server.Freshet, l layout) (m measured, err error) {
	nats, err := f.StartNATS(ctx, l.nats)
	if err != nil {
		return m, err
	}
	defer server.StopAll(nats)
	flags := []string{"--log-level", "warn", "--max-connections-per-address", "0"}
	if l.nats > 0 {
		var urls []string
		for _, s := range nats {
			urls = append(urls, s.Address)
		}
		flags = append(flags, "--nats", strings.Join(urls, ","), "--replicas", strconv.Itoa(l.nats))
	}
	var nodes []*server.Process
	defer func() { server.StopAll(nodes) }()
	var swarms []*load.Swarm
	defer func() {
		for _, s := range swarms {
			s.Close()
		}
	}()
	for range l.nodes {
		node, err := f.Start(ctx, flags...)
		if err != nil {
			return m, err
		}
		nodes = append(nodes, node)
		swarm, err := load.NewSwarm(load.Config{Target: target(node), Latencies: true, Path: func(reader int) string { return topic(reader % c.Topics) }})
		if err != nil {
			return m, err
		}
		swarms = append(swarms, swarm)
		if err := swarm.Open(ctx, c.Readers/l.nodes); err != nil {
			return m, err
		}
	}
	if err := each(swarms, func(s *load.Swarm) error { return s.For(ctx, c.Settle) }); err != nil {
		return m, err
	}
	before, err := c.usage(nodes, nats)
	if err != nil {
		return m, err
	}
	if err := c.publish(ctx, nodes, swarms); err != nil {
		return m, err
	}
	after, err := c.usage(nodes, nats)
	if err != nil {
		return m, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	m.node = (after.nodes - before.nodes).Seconds() / seconds / float64(l.nodes)
	m.nats = (after.nats - before.nats).Seconds() / seconds / float64(max(l.nats, 1))
	m.memory = float64(after.memory) / float64(l.nodes)
	all := &load.Swarm{}
	for _, s := range swarms {
		all.Latencies = append(all.Latencies, s.Latencies...)
	}
	m.p50, m.p99 = all.Quantile(.5).Seconds()*1e3, all.Quantile(.99).Seconds()*1e3
	return m, nil
}

// publish publishes at all nodes while the swarms read, and checks that every reader got everything.
func (c *Command) publish(ctx context.Context, nodes []*server.Process, swarms []*load.Swarm) error {
	published := make([]int, c.Topics)
	var publishing atomic.Int32
	publishing.Store(int32(len(nodes)))
	g, ctx := errgroup.WithContext(ctx)
	for i, node := range nodes {
		g.Go(func() error {
			defer publishing.Add(-1)
			return c.publishAt(ctx, node, i, len(nodes), published)
		})
	}
	g.Go(func() error {
		return each(swarms, func(s *load.Swarm) error {
			_, err := s.Until(ctx, c.Load+time.Minute, func() bool { return publishing.Load() == 0 })
			return err
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return each(swarms, func(s *load.Swarm) error {
		due, readers := uint64(0), c.Readers/len(nodes)
		for reader := range readers {
			due += uint64(published[reader%c.Topics])
		}
		if _, err := s.Until(context.WithoutCancel(ctx), 10*time.Second, func() bool { return s.Events >= due }); err != nil {
			return err
		}
		if s.Events != due || s.Repeats > 0 || s.Missing > 0 || s.Ended > 0 {
			return fmt.Errorf("%d of %d deliveries, %d missing, %d repeated, %d streams ended", s.Events, due, s.Missing, s.Repeats, s.Ended)
		}
		return nil
	})
}

// publishAt publishes to each n-th topic from the first on, at a share of the rate, and counts the events of each topic.
func (c *Command) publishAt(ctx context.Context, node *server.Process, first, n int, published []int) error {
	publisher, err := load.NewPublisher(ctx, target(node))
	if err != nil {
		return err
	}
	defer publisher.Close()
	ticks := time.NewTicker(time.Second * time.Duration(n) / time.Duration(c.Rate))
	defer ticks.Stop()
	end := time.Now().Add(c.Load)
	for t := first; time.Now().Before(end); t += n {
		if t >= c.Topics {
			t = first
		}
		published[t]++
		if _, err := publisher.PublishTo(topic(t), uint64(published[t])); err != nil {
			return err
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func target(node *server.Process) load.Target {
	return load.Target{Address: node.Address, Header: "Authorization: Bearer " + node.Token + "\r\n"}
}

// topic returns the path at which topic n is published and read.
func topic(n int) string { return "/event/t." + strconv.Itoa(n) }

// each calls fn for all swarms at once.
func each(swarms []*load.Swarm, fn func(*load.Swarm) error) error {
	var g errgroup.Group
	for _, s := range swarms {
		g.Go(func() error { return fn(s) })
	}
	return g.Wait()
}

// usage is what the processes have used by some time.
type usage struct {
	at          time.Time
	nodes, nats time.Duration
	memory      uint64
}

func (c *Command) usage(nodes, nats []*server.Process) (u usage, err error) {
	u.at = time.Now()
	for _, p := range nodes {
		used, err := p.CPU()
		if err != nil {
			return u, err
		}
		memory, err := p.Memory()
		if err != nil {
			return u, err
		}
		u.nodes, u.memory = u.nodes+used, u.memory+memory
	}
	for _, p := range nats {
		used, err := p.CPU()
		if err != nil {
			return u, err
		}
		u.nats += used
	}
	return u, nil
}
