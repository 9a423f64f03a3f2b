// Package replay measures how Freshet serves readers that are far behind.
//
// It fills the log. While publishing continues, one reader reads everything from the start, one
// reads a rare topic, and five hundred resume at random depths at the same time. Every reader must
// get each of its events once and in order, with the right data. The run fails if a reader did not,
// or if a limit was exceeded.
//
// The figures are those of server and readers together on one machine.
package replay

import (
	"context"
	"errors"

	"freshet/bench/server"
	"freshet/client"
)

// Command is the measure's command line.
type Command struct {
	Events  uint64  `default:"1000000" quick:"50000" help:"Events in the log, 10,000 or more."`
	Readers int     `default:"500" help:"Readers that resume at random depths at the same time."`
	Limit   float64 `default:"100000" quick:"0" help:"Fail if one reader gets fewer events a second; 0: never fail because of time."`
}

// Validate checks the flags.
func (c *Command) Validate() error {
	if c.Events < 10_000 || c.Readers < 1 {
		return errors.New("--events must be 10000 or more, and --readers 1 or more")
	}
	return nil
}

// Run measures, prints a table, and compares it with the limits.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	// A small window, so that readers are served from the log.
	p, err := f.Start(ctx, "--window-bytes", "1MiB")
	if err != nil {
		return err
	}
	defer p.Stop()
	reading, err := client.New(client.Config{URL: p.URL()})
	if err != nil {
		return err
	}
	m := measurement{Command: c, server: p, reading: reading, publisher: &publisher{topics: topics{c.Events}, server: p}}
	return m.run(ctx)
}
