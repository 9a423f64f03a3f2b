// Package scale measures how the cost of one node grows with connections and with topics.
//
// It starts Freshet for each size: with 1,000 to 19,000 connections to one topic, and with 10,000
// connections to 1 to 100,000 topics. It measures the memory of the process and of the system's
// sockets, processor time for a delivery and for an idle connection, and latency from publish to
// read. It prints two tables, and draws them on request. Every reader must get each of its events
// once and in order.
package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"freshet/bench/server"
)

// Command is the measure's command line.
type Command struct {
	Connections []int         `default:"1000,2000,5000,10000,15000,19000" quick:"200,400" help:"Sizes of the first table."`
	Topics      []int         `default:"1,10,100,1000,10000,100000" quick:"1,500" help:"Sizes of the second table."`
	Of          int           `default:"10000" quick:"200" help:"Connections of the second table."`
	Settle      time.Duration `default:"5s" quick:"500ms" help:"Time before memory is measured."`
	Load        time.Duration `default:"5s" quick:"500ms" help:"How long events are published."`
	Plot        string        `help:"Write a plot to this file, as SVG."`
}

// Validate checks the flags.
func (c *Command) Validate() error {
	for _, n := range append(append([]int{c.Of}, c.Connections...), c.Topics...) {
		if n < 1 {
			return errors.New("--connections, --topics and --of must be more than 0")
		}
	}
	return nil
}

// Run measures all sizes and prints the tables.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	byConnections := table{caption: "connections to one topic", of: "connections"}
	for _, n := range c.Connections {
		p, err := c.measure(ctx, f, n, 1)
		if err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
		p.size = n
		byConnections.points = append(byConnections.points, p)
		fmt.Fprintf(os.Stderr, "%d connections: done\n", n)
	}
	byTopics := table{caption: fmt.Sprintf("topics of %d connections", c.Of), of: "topics"}
	for _, n := range c.Topics {
		p, err := c.measure(ctx, f, c.Of, n)
		if err != nil {
			return fmt.Errorf("%d topics: %w", n, err)
		}
		p.size = n
		byTopics.points = append(byTopics.points, p)
		fmt.Fprintf(os.Stderr, "%d topics: done\n", n)
	}
	fmt.Printf("%v\n\n%v\n", byConnections, byTopics)
	if c.Plot == "" {
		return nil
	}
	return os.WriteFile(c.Plot, plot(byConnections, byTopics), 0o644) //nolint:gosec // everyone may read it
}

var errLost = errors.New("deliveries are lost or repeated")
