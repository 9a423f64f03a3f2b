package scale

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/bench/load"
	"freshet/bench/server"
)

// point is the cost of one size.
type point struct {
	size     int
	memory   float64 // of the process for a connection, bytes (PSS)
	kernel   float64 // of the system for a connection's socket, bytes
	idle     float64 // processor time for an idle connection, µs a second
	delivery float64 // processor time for a delivery with its share of the publish, µs
	publish  float64 // processor time for a publish with its deliveries, µs
	p50, p99 float64 // publish call to read, ms
}

// topicsOf returns the topics that a connection reads. Each connection reads at least one, and each topic has a reader.
func topicsOf(connection, connections, topics int) (of []int) {
	for t := connection % topics; t < topics; t += connections {
		of = append(of, t)
	}
	return of
}

func topicName(n int) string { return "t." + strconv.Itoa(n) }

// measure opens the connections, leaves them idle, and then publishes at a rate that keeps the
// deliveries below 50,000 a second.
func (c *Command) measure(ctx context.Context, f *server.Freshet, connections, topics int) (p point, err error) {
	s, err := f.Start(ctx, "--log-level", "warn", "--max-connections-per-address", "0")
	if err != nil {
		return p, err
	}
	defer s.Stop()
	target := load.Target{Address: s.Address, Header: "Authorization: Bearer " + s.Token + "\r\n"}
	swarm, err := load.NewSwarm(load.Config{Target: target, Latencies: true, Path: func(reader int) string {
		var topic []string
		for _, t := range topicsOf(reader, connections, topics) {
			topic = append(topic, "topic="+topicName(t))
		}
		return "/event?" + strings.Join(topic, "&")
	}})
	if err != nil {
		return p, err
	}
	defer swarm.Close()
	if err := swarm.For(ctx, c.Settle/5); err != nil { // the start's cost is not the readers'
		return p, err
	}
	before, err := usageOf(s)
	if err != nil {
		return p, err
	}
	if err := swarm.Open(ctx, connections); err != nil {
		return p, err
	}
	if err := swarm.For(ctx, c.Settle); err != nil {
		return p, err
	}
	opened, err := usageOf(s)
	if err != nil {
		return p, err
	}
	if err := swarm.For(ctx, c.Settle); err != nil {
		return p, err
	}
	rested, err := usageOf(s)
	if err != nil {
		return p, err
	}
	n := float64(connections)
	p.memory = (rested.memory - before.memory) / n
	p.kernel = (rested.kernel - before.kernel) / n / 2 // both ends are here
	idle := (rested.cpu - opened.cpu).Seconds() / rested.at.Sub(opened.at).Seconds()
	p.idle = idle / n * 1e6

	every := max(5*time.Millisecond, time.Duration(connections/topics)*20*time.Microsecond)
	published, err := c.publish(ctx, target, swarm, connections, topics, every)
	if err != nil {
		return p, err
	}
	loaded, err := usageOf(s)
	if err != nil {
		return p, err
	}
	busy := (loaded.cpu - rested.cpu).Seconds() - idle*loaded.at.Sub(rested.at).Seconds()
	p.delivery = busy / float64(swarm.Events) * 1e6
	p.publish = busy / float64(published) * 1e6
	p.p50, p.p99 = swarm.Quantile(.5).Seconds()*1e3, swarm.Quantile(.99).Seconds()*1e3
	return p, nil
}

// publish publishes to topics far from each other in turn, waits until everything is read, and
// returns the number of events.
func (c *Command) publish(ctx context.Context, target load.Target, swarm *load.Swarm, connections, topics int, every time.Duration) (published int, err error) {
	publisher, err := load.NewPublisher(ctx, target)
	if err != nil {
		return 0, err
	}
	defer publisher.Close()
	begin := time.Now()
	due, number := uint64(0), map[int]uint64{}
	for ; time.Since(begin) < c.Load; published++ {
		topic := published * 7919 % topics // a prime number, so all topics get events
		number[topic]++
		if _, err := publisher.PublishTo("/event/"+topicName(topic), number[topic]); err != nil {
			return published, err
		}
		due += uint64(connections / topics)
		if topics > connections || topic < connections%topics {
			due++
		}
		if err := swarm.For(ctx, time.Until(begin.Add(time.Duration(published+1)*every))); err != nil {
			return published, err
		}
	}
	if _, err := swarm.Until(ctx, 10*time.Second, func() bool { return swarm.Events >= due }); err != nil {
		return published, err
	}
	if swarm.Events != due || swarm.Repeats > 0 {
		return published, fmt.Errorf("%w: %d of %d, %d repeated", errLost, swarm.Events, due, swarm.Repeats)
	}
	return published, nil
}

// usage is what a server, and the system for all sockets, has used by some time.
type usage struct {
	at             time.Time
	cpu            time.Duration
	memory, kernel float64
}

func usageOf(s *server.Process) (u usage, err error) {
	memory, err := s.Memory()
	if err != nil {
		return u, err
	}
	if u.kernel, err = kernelMemory(); err != nil {
		return u, err
	}
	u.cpu, err = s.CPU()
	u.at, u.memory = time.Now(), float64(memory)
	return u, err
}

// kernelMemory returns the kernel's memory for small objects such as sockets, see proc(5).
func kernelMemory() (float64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); slices.Contains(fields, "Slab:") {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("/proc/meminfo has no line Slab")
}
