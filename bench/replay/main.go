// Command replay measures how a server serves readers that are far behind.
//
// It builds the server, starts it as a process of its own with a data folder that it
// removes, and fills the log. While publishing goes on, one reader then reads all from
// the start, one reads a rare topic, and five hundred resume at random depths at once.
// Every reader must get each event that it is due, once and in order, with its data. It
// prints a table and ends with exit code 1 where a reader did not, or a limit was missed.
//
//	go run ./bench/replay [--events 1000000] [--limit 100000] [--binary FILE]
//
// The figures are those of server and readers together on one machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"freshet/bench/drive"
)

// options are the flags.
type options struct {
	events  uint64
	readers int
	limit   float64
	binary  string
}

func main() {
	var o options
	flag.Uint64Var(&o.events, "events", 1_000_000, "events in the log, 10,000 or more")
	flag.IntVar(&o.readers, "readers", 500, "readers that resume at random depths at once")
	flag.Float64Var(&o.limit, "limit", 100_000, "events a second that one reader gets at least; 0: no time is a failure")
	flag.StringVar(&o.binary, "binary", "", "Freshet binary to measure; default: build this source")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.events < 10_000 || o.readers < 1 {
		return errors.New("too few events or readers")
	}
	// A small window, so that it is the log that serves the readers.
	server, end, err := drive.Fresh(ctx, o.binary, "--window-bytes", "1MiB")
	if err != nil {
		return err
	}
	defer end()
	m := measurement{options: o, server: server, publisher: &publisher{books: books{o.events}, client: server.Client}}
	return m.run(ctx)
}
