package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATS is the command line of a process that runs a NATS server.
type NATS struct {
	Config string `arg:"" help:"Configuration file of the NATS server."`
}

// Run runs the server until the context is done. When it accepts connections, it prints its URL.
func (n NATS) Run(ctx context.Context) error { return n.serve(ctx, os.Stdout) }

func (n NATS) serve(ctx context.Context, out io.Writer) error {
	options, err := server.ProcessConfigFile(n.Config)
	if err != nil {
		return err
	}
	options.NoSigs = true
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("the NATS server of %s accepts no connections", n.Config)
	}
	fmt.Fprintln(out, "ready", strings.TrimPrefix(s.ClientURL(), "nats://"))
	<-ctx.Done()
	s.Shutdown()
	return nil
}

var readyAddress = regexp.MustCompile(`^ready (\S+)`)

// StartNATS starts NATS servers with JetStream, each as a process: a cluster if there are several. They run this program's
// command nats.
func (f *Freshet) StartNATS(ctx context.Context, servers int) (started []*Process, err error) {
	defer func() {
		if err != nil {
			StopAll(started)
			started = nil
		}
	}()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, servers)
	if err != nil {
		return nil, err
	}
	for i := range servers {
		dir, err := os.MkdirTemp(f.Dir, "nats")
		if err != nil {
			return started, err
		}
		config := fmt.Sprintf("server_name: n%d, listen: \"127.0.0.1:-1\", log_file: %q\njetstream { store_dir: %q }\n", i, filepath.Join(dir, "log"), dir)
		if servers > 1 {
			config += fmt.Sprintf("cluster { name: bench, listen: %q, routes: [nats://%s] }\n", ports[i], strings.Join(ports, ", nats://"))
		}
		file := filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return started, err
		}
		cmd := exec.CommandContext(ctx, program, "nats", file) //nolint:gosec // this program
		p, err := Start(cmd, readyAddress)
		if err != nil {
			return started, err
		}
		p.dir = dir
		started = append(started, p)
	}
	return started, nil
}

// StopAll stops the processes.
func StopAll(all []*Process) {
	for _, p := range all {
		p.Stop()
	}
}

// freePorts returns addresses that nothing listens on.
func freePorts(ctx context.Context, n int) (addresses []string, err error) {
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // only its number was wanted
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
