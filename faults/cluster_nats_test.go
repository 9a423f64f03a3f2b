package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsVariable makes the test binary a NATS server with the configuration file that it names.
const natsVariable = "FAULTS_NATS_CONFIG"

// serveNATSIfCommand runs the NATS server in a process of startNATS.
func serveNATSIfCommand() {
	file := os.Getenv(natsVariable)
	if file == "" {
		return
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		panic(err)
	}
	s, err := server.NewServer(options)
	if err != nil {
		panic(err)
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	os.Exit(0)
}

// natsServer is a NATS server process with JetStream. All its connections run through wires.
type natsServer struct {
	name  string
	url   string
	wires []*wire
	file  string // its configuration
	log   string // the file of its log
	cmd   *exec.Cmd

	output bytes.Buffer
}

// start runs the server until it is stopped, or the test ends.
func (s *natsServer) start(t *testing.T) {
	t.Helper()
	binary, err := os.Executable()
	must(t, err)
	if s.cmd == nil {
		t.Cleanup(func() {
			s.stop()
			if t.Failed() {
				log, _ := os.ReadFile(s.log)
				t.Logf("NATS server %s: %s%s", s.name, &s.output, tail(string(log)))
			}
		})
	}
	s.cmd = exec.Command(binary)
	s.cmd.Env = append(apptest.Env(), natsVariable+"="+s.file)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	must(t, s.cmd.Start())
}

// stop kills the server.
func (s *natsServer) stop() { s.end(os.Kill) }

// end ends the server with the signal, and waits for its end.
func (s *natsServer) end(signal os.Signal) {
	_ = s.cmd.Process.Signal(signal) // it may have ended
	_ = s.cmd.Wait()
}

// freeze stops the process until thaw is called. Its connections stay open.
func (s *natsServer) freeze(t *testing.T) { must(t, s.cmd.Process.Signal(syscall.SIGSTOP)) }

func (s *natsServer) thaw(t *testing.T) { must(t, s.cmd.Process.Signal(syscall.SIGCONT)) }

func (s *natsServer) cut(*testing.T) {
	for _, w := range s.wires {
		w.cut()
	}
}

func (s *natsServer) heal(*testing.T) {
	for _, w := range s.wires {
		w.heal()
	}
}

// natsCluster is three NATS servers.
type natsCluster [3]*natsServer

// newNATSCluster configures the servers. The caller starts them.
func newNATSCluster(t *testing.T) (c natsCluster) {
	t.Helper()
	dir := t.TempDir()
	var routePorts [len(c)]string
	for i := range c {
		routePorts[i] = apptest.FreeAddress(t)
		c[i] = &natsServer{name: fmt.Sprintf("n%d", i)}
	}
	for i, s := range c {
		var routes []string
		for j, other := range c {
			if j != i {
				w := newWire(t, routePorts[j])
				s.wires, other.wires = append(s.wires, w), append(other.wires, w)
				routes = append(routes, "nats://"+w.addr)
			}
		}
		listen := apptest.FreeAddress(t)
		clients := newWire(t, listen)
		s.wires = append(s.wires, clients)
		s.url = "nats://" + clients.addr
		s.file, s.log = filepath.Join(dir, s.name+".conf"), filepath.Join(dir, s.name+".log")
		// The servers tell each other the address that they advertise. Nothing listens there, so the wires have all routes.
		must(t, os.WriteFile(s.file, fmt.Appendf(nil, `
			server_name: %s, listen: %q, client_advertise: %q, log_file: %q
			jetstream { store_dir: %q }
			cluster { name: %q, listen: %q, advertise: "127.0.0.1:1", routes: [%s] }`,
			s.name, listen, clients.addr, s.log, filepath.Join(dir, s.name), filepath.Base(dir), routePorts[i], strings.Join(routes, ", ")), 0o600))
	}
	return c
}

// startNATSCluster starts three servers, which a node waits for.
func startNATSCluster(t *testing.T) natsCluster {
	t.Helper()
	c := newNATSCluster(t)
	for _, s := range c {
		s.start(t)
	}
	return c
}

// urls is the value of --nats.
func (c natsCluster) urls() string {
	return c[0].url + "," + c[1].url + "," + c[2].url
}

// roles returns the server that leads the log's stream, and the others. It waits until all servers are up to date.
func (c natsCluster) roles(ctx context.Context, t *testing.T) (leader *natsServer, others []*natsServer) {
	t.Helper()
	must(t, c.awaitStream(ctx, t, func(info *jetstream.StreamInfo) bool {
		leader, others = nil, nil
		for _, s := range c {
			if s.name == info.Cluster.Leader {
				leader = s
			} else {
				others = append(others, s)
			}
		}
		for _, peer := range info.Cluster.Replicas {
			if !peer.Current || peer.Offline {
				return false
			}
		}
		return leader != nil
	}))
	return leader, others
}

// awaitStream waits until what NATS says of the log's stream is right.
func (c natsCluster) awaitStream(ctx context.Context, t *testing.T, right func(*jetstream.StreamInfo) bool) error {
	t.Helper()
	js := c.jetstream(t)
	return apptest.Until(ctx, func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, "freshet")
		return err == nil && right(stream.CachedInfo())
	})
}

// jetstream returns a connection of its own, until the test ends.
func (c natsCluster) jetstream(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(c.urls(), nats.PingInterval(time.Second), nats.ErrorHandler(nil))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}
