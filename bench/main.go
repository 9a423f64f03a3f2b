//go:build linux

// Command bench measures Freshet beside other servers of event streams, and beside a
// minimal one that shows what the machine can do.
//
// It builds Freshet, starts each server as a process of its own, one at a time and in turns,
// and loads it over the loopback from this process. Round after round it measures memory and
// processor time for a reader and a delivery, deliveries, publishes and connections a
// second, the time from publish to read, and how long it takes until readers who come back
// have what they missed. Every reader must get every event, once and in order: where one of
// Freshet's did not, the exit code is 1.
//
//	go run ./bench [--readers 10000] [--rounds 3] [--only LIST] [--against LIST]
//	               [--binary FILE] [--json FILE] [--from FILE] [--report docs/benchmarks.md] [--quick]
//
// Figures hang on the machine; ratios within one run much less. It runs on Linux, whose
// /proc it asks for memory and times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"freshet/bench/drive"
	"freshet/bench/rivals"

	"golang.org/x/sys/unix"
)

// options are the flags.
type options struct {
	Readers int           `json:"readers"`
	Rounds  int           `json:"rounds"`
	Only    []string      `json:"only"`    // names of measures
	Against []string      `json:"against"` // names of servers
	Load    time.Duration `json:"load"`    // how long a load goes on
	Settle  time.Duration `json:"settle"`  // before idle readers are measured
	quick   bool
	binary  string
	nchan   string
	json    string
	from    string
	report  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := func() error {
		if len(os.Args) == 3 && os.Args[1] == "serve" { // what this program runs beside itself
			return rivals.Serve(ctx, os.Args[2], os.Stdout)
		}
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o)
	}()
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse takes the flags. --quick changes the defaults of the others.
func parse(args []string) (options, error) {
	var o options
	var only, against string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.Readers, "readers", 10_000, "readers, each of them one connection")
	flags.IntVar(&o.Rounds, "rounds", 3, "how often everything is measured")
	flags.StringVar(&only, "only", "", "measures, parted by commas: "+strings.Join(measureNames(), ", "))
	flags.StringVar(&against, "against", "", "servers, parted by commas: "+strings.Join(serverNames(), ", "))
	flags.DurationVar(&o.Load, "load", 5*time.Second, "how long a load goes on")
	flags.DurationVar(&o.Settle, "settle", 5*time.Second, "time before the memory of idle readers is taken")
	flags.StringVar(&o.binary, "binary", "", "Freshet binary to measure; default: build this source")
	flags.StringVar(&o.nchan, "nchan", "/usr/lib/nginx/modules/ngx_nchan_module.so", "Nchan's module for nginx; where it is not, Nchan is left out")
	flags.StringVar(&o.json, "json", "", "file for all figures as JSON")
	flags.StringVar(&o.from, "from", "", "file that --json has written: show its figures instead of measuring")
	flags.StringVar(&o.report, "report", "", "file for the figures as a page, with a plot beside it as .svg")
	flags.BoolVar(&o.quick, "quick", false, "small and short: shows that nothing is lost, and no more")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.quick {
		if !given["readers"] {
			o.Readers = 500
		}
		if !given["rounds"] {
			o.Rounds = 1
		}
		if !given["against"] {
			against = "minimal,freshet,freshet-stream"
		}
		if !given["load"] {
			o.Load = 500 * time.Millisecond
		}
		if !given["settle"] {
			o.Settle = 300 * time.Millisecond
		}
	}
	var err error
	if o.Only, err = choose("only", only, measureNames()); err != nil {
		return o, err
	}
	if o.Against, err = choose("against", against, serverNames()); err != nil {
		return o, err
	}
	if o.Readers < 1 || o.Rounds < 1 || o.Load <= 0 || o.Settle <= 0 {
		return o, errors.New("readers, rounds, load and settle have to be more than 0")
	}
	return o, nil
}

func choose(name, list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	chosen := strings.Split(list, ",")
	for _, c := range chosen {
		if !slices.Contains(all, c) {
			return nil, fmt.Errorf("--%s: %q is none of %s", name, c, strings.Join(all, ", "))
		}
	}
	return chosen, nil
}

func run(ctx context.Context, o options) error {
	if o.from != "" {
		r, err := readJSON(o.from)
		if err != nil {
			return err
		}
		return r.show(o)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < uint64(o.Readers)+500 {
		return fmt.Errorf("%d readers need more than the %d descriptors that a process may have", o.Readers, limit.Cur)
	}
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the system's folder for that
	binary := o.binary
	if binary == "" {
		if binary, err = drive.Build(ctx, dir); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, freshet: binary, self: self}
	r := newResults(o)
	if r.Machine, err = describe(dir); err != nil {
		return err
	}
	if err := b.rounds(ctx, r); err != nil {
		return err
	}
	return errors.Join(r.show(o), r.lost())
}

// show prints the results and writes them where they are wanted.
func (r *results) show(o options) error {
	r.print(os.Stdout)
	errs := []error{r.writeJSON(o.json)}
	if o.report != "" {
		errs = append(errs, r.writeReport(o.report))
	}
	return errors.Join(errs...)
}
