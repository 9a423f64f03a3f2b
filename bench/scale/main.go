//go:build linux

// Command scale measures how the cost of one node grows with connections and with topics.
//
// It builds Freshet and starts it as a process of its own for each size: with 1,000 to 19,000
// connections to one topic, and with 10,000 connections to 1 to 100,000 topics. It takes the
// memory of the process and of the system's own sockets, the processor time for a delivery and
// for an idle connection, and the time from publish to read. It prints two tables; with --plot
// it draws them. Every reader must get each event that it is due, once and in order: else the
// exit code is 1.
//
//	go run ./bench/scale [--connections 1000,…] [--topics 1,…] [--binary FILE] [--plot docs/scaling-one-node.svg]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"freshet/bench/drive"
	"freshet/bench/load"
)

// options are the flags.
type options struct {
	connections, topics sizes
	of                  int // connections to the topics
	settle, load        time.Duration
	binary, plot        string
}

// sizes is a flag of numbers, parted by commas.
type sizes []int

func (s *sizes) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*s)), " ", ","), "[]")
}

func (s *sizes) Set(text string) error {
	*s = nil
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of at least 1", part)
		}
		*s = append(*s, n)
	}
	return nil
}

func main() {
	o := options{
		connections: sizes{1000, 2000, 5000, 10_000, 15_000, 19_000},
		topics:      sizes{1, 10, 100, 1000, 10_000, 100_000},
	}
	flag.Var(&o.connections, "connections", "sizes of the first table")
	flag.Var(&o.topics, "topics", "sizes of the second table")
	flag.IntVar(&o.of, "of", 10_000, "connections of the second table")
	flag.DurationVar(&o.settle, "settle", 5*time.Second, "time before memory is taken")
	flag.DurationVar(&o.load, "load", 5*time.Second, "how long events are published")
	flag.StringVar(&o.binary, "binary", "", "Freshet binary to measure; default: build this source")
	flag.StringVar(&o.plot, "plot", "", "file for a plot, an SVG")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the system's folder for that
	if o.binary == "" {
		if o.binary, err = drive.Build(ctx, dir); err != nil {
			return err
		}
	}
	byConnections := table{caption: "connections to one topic", of: "connections"}
	for _, n := range o.connections {
		p, err := o.measure(ctx, filepath.Join(dir, "connections"+strconv.Itoa(n)), n, 1)
		if err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
		p.size = n
		byConnections.points = append(byConnections.points, p)
		fmt.Fprintf(os.Stderr, "%d connections: done\n", n)
	}
	byTopics := table{caption: fmt.Sprintf("topics of %d connections", o.of), of: "topics"}
	for _, n := range o.topics {
		p, err := o.measure(ctx, filepath.Join(dir, "topics"+strconv.Itoa(n)), o.of, n)
		if err != nil {
			return fmt.Errorf("%d topics: %w", n, err)
		}
		p.size = n
		byTopics.points = append(byTopics.points, p)
		fmt.Fprintf(os.Stderr, "%d topics: done\n", n)
	}
	fmt.Printf("%v\n\n%v\n", byConnections, byTopics)
	if o.plot == "" {
		return nil
	}
	return os.WriteFile(o.plot, plot(byConnections, byTopics), 0o644) //nolint:gosec // it is for everybody
}

// start starts a server on an empty log.
func (o options) start(ctx context.Context, data string) (*drive.Server, load.Target, error) {
	cmd := exec.CommandContext(ctx, o.binary, "--listen", "127.0.0.1:0", "--data", data, "--log-level", "warn", //nolint:gosec // just built
		"--max-connections-per-address", "0")
	cmd.Env = drive.Env()
	s, err := drive.Start(cmd)
	if err != nil {
		return nil, load.Target{}, err
	}
	return s, load.Target{
		Address: strings.TrimPrefix(s.URL, "http://"),
		Header:  "Authorization: Bearer " + s.Token + "\r\n",
	}, nil
}

var errLost = errors.New("deliveries are missing, or came twice")
