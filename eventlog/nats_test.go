package eventlog_test

import (
	"crypto/rand"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/nats-io/nats-server/v2/server"
)

// External NATS servers, in this process.

func externalNATS(t *testing.T) string {
	t.Helper()
	return startNATS(t, t.TempDir(), server.RANDOM_PORT).ClientURL()
}

func startNATS(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	return s
}

// clusterNATS starts three servers and waits until they have found each other.
func clusterNATS(t *testing.T) string {
	t.Helper()
	var servers []*server.Server
	for servers == nil {
		servers = startCluster(t)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(30 * time.Second); ; {
		for _, s := range servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers) {
				return s.ClientURL()
			}
		}
		select {
		case <-tick.C:
		case <-end:
			for i, s := range servers {
				t.Errorf("server %d: running %v, leader %v, routes %d, knows %v", i, s.Running(), s.JetStreamIsLeader(), s.NumRoutes(), s.JetStreamClusterPeers())
			}
			t.FailNow()
		}
	}
}

// startCluster starts three servers. They must know each other's ports before they start: it
// returns nil if another process has taken one meanwhile.
func startCluster(t *testing.T) (servers []*server.Server) {
	t.Helper()
	var ports []int
	var routes []*url.URL
	for range 3 {
		port := quietPort(t)
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: "127.0.0.1:" + strconv.Itoa(port)})
	}
	name := rand.Text() // unlike that of other tests
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: "n" + strconv.Itoa(i), Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: name, Host: "127.0.0.1", Port: port}, Routes: routes, NoSigs: true, NoLog: true,
		})
		must(t, err)
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			return nil
		}
	}
	return servers
}

// quietPort returns a port that a server can use again after a restart.
func quietPort(t *testing.T) int {
	t.Helper()
	_, port, err := net.SplitHostPort(apptest.FreeAddress(t))
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	return number
}

// proxyNATS returns the URL of a proxy to NATS; forward copies the answers of a connection.
func proxyNATS(t *testing.T, to string, forward func(client io.Writer, nats io.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var connections sync.WaitGroup
	t.Cleanup(func() { must(t, listener.Close()); connections.Wait() })
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			nats, err := net.Dial("tcp", strings.TrimPrefix(to, "nats://"))
			if err != nil {
				t.Error(err)
				client.Close()
				return
			}
			connections.Go(func() {
				_, _ = io.Copy(nats, client)
				nats.Close()
			})
			connections.Go(func() {
				defer client.Close()
				forward(client, nats)
			})
		}
	})
	return "nats://" + listener.Addr().String()
}
