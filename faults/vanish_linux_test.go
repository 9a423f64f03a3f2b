//go:build full

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"

	"golang.org/x/sys/unix"
)

// A peer that vanishes is disconnected within a minute: it does not acknowledge heartbeats or,
// without heartbeats, the system's probes. That takes 45 seconds and has no shorter form, so
// the test is one of the full ones.
func TestPeersThatVanish(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	var both sync.WaitGroup
	for _, heartbeat := range []string{"15s", "0"} {
		s := start(ctx, t, t.TempDir(), "--heartbeat", heartbeat)
		both.Go(func() {
			if err := vanishAndStay(ctx, t, s); err != nil {
				t.Errorf("with --heartbeat %s: %v", heartbeat, err)
			}
		})
	}
	both.Wait()
}

// vanishAndStay opens streams and lets the peers of half of them vanish. It waits until the
// server has disconnected these, and checks that it kept the others.
func vanishAndStay(ctx context.Context, t *testing.T, s *apptest.Process) error {
	const vanishing, staying = 20, 20
	var conn net.Conn // the newest
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (_ net.Conn, err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return conn, err
	}}
	c, err := s.NewClient(client.Config{HTTP: &http.Client{Transport: transport}})
	if err != nil {
		return err
	}
	var readers []*client.Reader
	for n := range vanishing + staying {
		r, err := c.Open(ctx, client.Subscription{Topics: []string{"news"}, Heartbeat: -1})
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := r.Next(); err != nil { // the opening
			return err
		}
		if n < vanishing {
			if err := vanish(conn); err != nil {
				return err
			}
			continue
		}
		readers = append(readers, r)
	}
	began := time.Now()
	minute, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	reaped := func() int { return strings.Count(s.Log(), "reason=gone") }
	if err := apptest.Until(minute, func() bool { return reaped() == vanishing }); err != nil {
		return fmt.Errorf("of %d peers that vanished %d were reaped: %w", vanishing, reaped(), err)
	}
	t.Logf("reaped after %v", time.Since(began))

	id, err := s.Publish(ctx, client.Message{Topic: "news", Data: "hello"})
	if err != nil {
		return err
	}
	for _, r := range readers {
		if f, err := next(r, ""); err != nil || f.ID != id.String() {
			return fmt.Errorf("a peer that stayed got %+v, %w", f, err)
		}
	}
	stats, err := s.Stats(ctx)
	if err == nil && (stats.Connections != staying+1 || stats.Delivered != staying || stats.Stalled != 0) { // one is the stream of stats
		err = fmt.Errorf("%+v", stats)
	}
	return err
}

// vanish makes the system drop every packet that arrives for the connection.
func vanish(conn net.Conn) error {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	nothing := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}} // keeps 0 bytes of a packet
	var attached error
	err = raw.Control(func(fd uintptr) {
		attached = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &nothing)
	})
	return errors.Join(err, attached)
}
