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
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"freshet/bench/load"
	"freshet/bench/server"
	"freshet/client"

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
	Bulk    int           `default:"200000" quick:"2000" help:"Events that nobody reads, published at once by one node in the end."`
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

// Run measures all layouts and prints two tables.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	var live, bulk strings.Builder
	for _, l := range []layout{{"one node, embedded log", 1, 0}, {"one node, three NATS servers", 1, 3}, {fmt.Sprintf("%d nodes, three NATS servers", c.Nodes), c.Nodes, 3}} {
		m, err := c.measure(ctx, f, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		fmt.Fprintf(&live, "| %s | %d | %.1f | %.1f | %.0f | %.1f | %.1f |\n", l.name, c.Readers/l.nodes, m.node*100, m.nats*100, m.memory/(1<<20), m.p50, m.p99)
		fmt.Fprintf(&bulk, "| %s | %.0f | %.1f | %.1f | %.1f |\n", l.name, m.bulk, us(m.taking), us(m.following), us(m.storing))
		fmt.Fprintf(os.Stderr, "%s: done\n", l.name)
	}
	fmt.Printf("%d readers, %d topics, %d events and %d deliveries a second\n\n", c.Readers, c.Topics, c.Rate, c.Rate*c.Readers/c.Topics)
	fmt.Printf("| | readers of a node | CPU of a node, %% of a core | CPU of a NATS server, %% of a core | memory of a node, MiB | latency p50, ms | latency p99, ms |\n|---|---:|---:|---:|---:|---:|---:|\n%s\n", &live)
	fmt.Printf("%d events in bulk, without readers\n\n", c.Bulk)
	fmt.Printf("| | events a second | CPU of an event at the node that takes it, µs | at each other node, µs | at each NATS server, µs |\n|---|---:|---:|---:|---:|\n%s", &bulk)
	return nil
}

func us(d time.Duration) float64 { return d.Seconds() * 1e6 }

// measured is what a layout costs while events are published.
type measured struct {
	node, nats float64 // processor time of one process, cores
	memory     float64 // of one node, bytes (PSS)
	p50, p99   float64 // publish call to read, ms

	bulk                       float64       // events that nobody reads, a second
	taking, following, storing time.Duration // processor time for one of them: at the node that takes it, at another node, at a NATS server
}

// system is the processes of a layout.
type system struct {
	nodes, nats []*server.Process
}

func (c *Command) start(ctx context.Context, f *server.Freshet, l layout) (s system, err error) {
	if s.nats, err = f.StartNATS(ctx, l.nats); err != nil {
		return s, err
	}
	flags := []string{"--log-level", "warn", "--max-connections-per-address", "0"}
	if l.nats > 0 {
		var urls []string
		for _, p := range s.nats {
			urls = append(urls, p.Address)
		}
		flags = append(flags, "--nats", strings.Join(urls, ","), "--replicas", strconv.Itoa(l.nats))
	}
	for range l.nodes {
		node, err := f.Start(ctx, flags...)
		if err != nil {
			return s, err
		}
		s.nodes = append(s.nodes, node)
	}
	return s, nil
}

func (s system) stop() {
	server.StopAll(s.nodes)
	server.StopAll(s.nats)
}

func (c *Command) measure(ctx context.Context, f *server.Freshet, l layout) (m measured, err error) {
	s, err := c.start(ctx, f, l)
	defer s.stop()
	if err != nil {
		return m, err
	}
	var swarms []*load.Swarm
	defer func() {
		for _, s := range swarms {
			s.Close()
		}
	}()
	for _, node := range s.nodes {
		swarm, err := load.NewSwarm(load.Config{Target: target(node), Latencies: true, Path: func(reader int) string { return topic(reader % c.Topics) }})
		if err != nil {
			return m, err
		}
		swarms = append(swarms, swarm)
		if err := swarm.Open(ctx, c.Readers/l.nodes); err != nil {
			return m, err
		}
	}
	settle := func() error {
		return each(swarms, func(s *load.Swarm) error { return s.For(ctx, c.Settle) })
	}
	spend := func(work func() error) (spent, error) {
		if err := settle(); err != nil {
			return spent{}, err
		}
		return s.spend(work)
	}
	live, err := spend(func() error { return c.publish(ctx, s.nodes, swarms) })
	if err != nil {
		return m, err
	}
	m.node, m.nats = live.sum(live.nodes).Seconds()/live.took.Seconds()/float64(l.nodes), live.sum(live.nats).Seconds()/live.took.Seconds()/float64(max(l.nats, 1))
	for _, node := range s.nodes {
		memory, err := node.Memory()
		if err != nil {
			return m, err
		}
		m.memory += float64(memory) / float64(l.nodes)
	}
	all := &load.Swarm{}
	for _, s := range swarms {
		all.Latencies = append(all.Latencies, s.Latencies...)
	}
	m.p50, m.p99 = all.Quantile(.5).Seconds()*1e3, all.Quantile(.99).Seconds()*1e3

	bulk, err := spend(func() error { return errors.Join(c.publishBulk(ctx, s.nodes[0]), settle()) })
	if err != nil {
		return m, err
	}
	n := time.Duration(c.Bulk)
	m.bulk = float64(c.Bulk) / (bulk.took - c.Settle).Seconds()
	m.taking, m.storing = bulk.nodes[0]/n, bulk.sum(bulk.nats)/n/time.Duration(max(l.nats, 1))
	if l.nodes > 1 {
		m.following = bulk.sum(bulk.nodes[1:]) / n / time.Duration(l.nodes-1)
	}
	return m, nil
}

// publishBulk publishes to a topic that has no readers.
func (c *Command) publishBulk(ctx context.Context, node *server.Process) error {
	for left := c.Bulk; left > 0; left -= 1000 {
		messages := make([]client.Message, min(left, 1000))
		for i := range messages {
			messages[i] = client.Message{Topic: "bulk", Data: string(load.Data(1))}
		}
		if _, err := node.PublishBulk(ctx, messages); err != nil {
			return err
		}
	}
	return nil
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

// spent is the processor time that each process has used for some work.
type spent struct {
	took        time.Duration
	nodes, nats []time.Duration
}

func (spent) sum(times []time.Duration) (sum time.Duration) {
	for _, t := range times {
		sum += t
	}
	return sum
}

func (s system) spend(work func() error) (u spent, err error) {
	before, err := s.used()
	if err != nil {
		return u, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return u, err
	}
	u.took = time.Since(began)
	after, err := s.used()
	if err != nil {
		return u, err
	}
	for i := range after {
		after[i] -= before[i]
	}
	u.nodes, u.nats = after[:len(s.nodes)], after[len(s.nodes):]
	return u, nil
}

// used returns the processor time of each node and then of each NATS server.
func (s system) used() (used []time.Duration, err error) {
	for _, p := range slices.Concat(s.nodes, s.nats) {
		t, err := p.CPU()
		if err != nil {
			return nil, err
		}
		used = append(used, t)
	}
	return used, nil
}
