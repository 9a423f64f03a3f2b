// Command bench measures what Freshet costs and how much it sustains.
//
//	go run -C bench . [compare|scale|replay|soak|page|cluster|answers] [--quick] [--binary FILE]
//
// Without the name of a measure it runs compare. Each measure builds Freshet, or takes a binary,
// and starts it as a process of its own with its data in a temporary folder. With --quick a
// measure is small and short: it shows that everything works, and its figures mean nothing.
//
// It runs on Linux, because it reads memory and times from /proc. The exit code is 1 if a reader
// did not get its events or a limit was exceeded.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"freshet/bench/answers"
	"freshet/bench/cluster"
	"freshet/bench/compare"
	"freshet/bench/page"
	"freshet/bench/replay"
	"freshet/bench/rivals"
	"freshet/bench/scale"
	"freshet/bench/server"
	"freshet/bench/soak"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"
)

type commandLine struct {
	Binary string `help:"Freshet binary to measure instead of this source."`
	Quick  bool   `help:"Run small and short, only to show that everything works."`

	Compare compare.Command `cmd:"" default:"withargs" help:"Compare Freshet with other servers (default)."`
	Show    compare.Show    `cmd:"" help:"Show the figures of an earlier comparison."`
	Scale   scale.Command   `cmd:"" help:"Measure how the cost grows with connections and topics."`
	Replay  replay.Command  `cmd:"" help:"Measure replay for readers that are far behind."`
	Soak    soak.Command    `cmd:"" help:"Run a mixed load and check that nothing is left afterwards."`
	Page    page.Command    `cmd:"" help:"Measure the dashboard in Chromium."`
	Cluster cluster.Command `cmd:"" help:"Compare several nodes with one."`
	Answers answers.Command `cmd:"" help:"Measure the answers of language models, many at once."`
	Serve   serveCommand    `cmd:"" hidden:""`
	NATS    server.NATS     `cmd:"" name:"nats" hidden:""`
}

// serveCommand is the command line with which compare starts a rival.
type serveCommand struct {
	Name string `arg:""`
}

func (s serveCommand) Run(ctx context.Context) error { return rivals.Serve(ctx, s.Name, os.Stdout) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var flags commandLine
	parser, err := kong.New(&flags, kong.Name("bench"), kong.Resolvers(kong.ResolverFunc(quickValue)))
	if err != nil {
		return err
	}
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		return err
	}
	var freshet *server.Freshet
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.BindToProvider(func() (*server.Freshet, error) { // only for measures that ask for it
		freshet, err = server.Build(ctx, flags.Binary)
		return freshet, err
	})
	if err != nil {
		return err
	}
	defer func() {
		if freshet != nil {
			freshet.Close()
		}
	}()
	return command.Run()
}

// quickValue returns the value of a flag's tag quick, if --quick was given.
func quickValue(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value := flag.Tag.Get("quick")
	for _, p := range ctx.Path {
		if value != "" && p.Flag != nil && p.Flag.Name == "quick" {
			return value, nil
		}
	}
	return nil, nil //nolint:nilnil // kong's way to say that the flag keeps its default
}
