// Package compare measures Freshet beside other servers of event streams, and beside a minimal one
// that shows what the machine can do.
//
// It starts each server as a process of its own, one at a time and in turns, and loads it over the
// loopback from this process. Every round measures memory and processor time for a reader and a
// delivery; deliveries, publishes and connections a second; latency from publish to read; and how
// long readers that reconnect need to catch up. Every reader must get every event once and in
// order: if a reader of Freshet did not, the run fails.
//
// Figures depend on the machine; ratios within one run depend on it much less.
package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"freshet/bench/server"

	"golang.org/x/sys/unix"
)

// Command is the measure's command line.
type Command struct {
	Options `embed:""`
	Nchan   string `default:"/usr/lib/nginx/modules/ngx_nchan_module.so" help:"Nchan's module for nginx; without it Nchan is skipped."`
	Targets bool   `default:"true" quick:"false" negatable:"" help:"Compare the figures with the targets."`
	JSON    string `help:"Write all figures to this file, as JSON."`
	Report  string `help:"Write a page with the figures to this file, and a plot beside it as .svg."`
}

// Options are the flags that figures depend on.
type Options struct {
	Readers int           `json:"readers" default:"10000" quick:"500" help:"Readers, each of them one connection."`
	Rounds  int           `json:"rounds" default:"3" quick:"1" help:"How often everything is measured."`
	Only    []string      `json:"only" default:"readers,flood,latency,counter,storm,publish" enum:"readers,flood,latency,counter,storm,publish" help:"Workloads, separated by commas."`
	Against []string      `json:"against" default:"minimal,freshet,freshet-stream,gin,go-sse,r3labs,nchan" quick:"minimal,freshet,freshet-stream" enum:"minimal,freshet,freshet-stream,gin,go-sse,r3labs,nchan" help:"Servers, separated by commas."`
	Load    time.Duration `json:"load" default:"5s" quick:"500ms" help:"How long a load lasts."`
	Settle  time.Duration `json:"settle" default:"5s" quick:"300ms" help:"Time before the memory of idle readers is measured."`
}

// Validate checks the flags.
func (o Options) Validate() error {
	if o.Readers < 1 || o.Rounds < 1 || o.Load <= 0 || o.Settle <= 0 {
		return errors.New("--readers, --rounds, --load and --settle must be more than 0")
	}
	return nil
}

// Run measures, prints the figures, and writes the files that were asked for.
func (c *Command) Run(ctx context.Context, f *server.Freshet) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < uint64(c.Readers)+500 {
		return fmt.Errorf("%d readers need more than the %d descriptors that a process may have: raise ulimit -n", c.Readers, limit.Cur)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r := newResults(c.Options)
	if r.Machine, err = describe(f.Dir); err != nil {
		return err
	}
	b := &bench{Command: c, freshet: f, self: self}
	if err := b.rounds(ctx, r); err != nil {
		return err
	}
	r.print(os.Stdout, c.Targets)
	errs := []error{r.writeJSON(c.JSON), r.lost()}
	if c.Report != "" {
		errs = append(errs, r.writeReport(c.Report))
	}
	return errors.Join(errs...)
}

// Show is the command line that shows figures of an earlier run.
type Show struct {
	File   string `arg:"" help:"File that --json has written."`
	Report string `help:"Write a page with the figures to this file, and a plot beside it as .svg."`
}

// Run prints the figures, and writes the report if it was asked for.
func (s *Show) Run() error {
	r, err := readJSON(s.File)
	if err != nil {
		return err
	}
	r.print(os.Stdout, true)
	if s.Report == "" {
		return nil
	}
	return r.writeReport(s.Report)
}
