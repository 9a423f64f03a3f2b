package faults_test

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// Connections that use all descriptors leave those of the log: publishing and replays go on.
func TestConnectionsLeaveDescriptorsForTheLog(t *testing.T) {
	t.Parallel()
	const limit, streams, connections, events = 200, 100, 150, 60 // a quarter each for the log and for other connections
	ctx := begin(t)
	cmd := command(ctx, t, "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--window-bytes", "1B", "--retry", "10ms-50ms",
		"--park", cmp.Or(os.Getenv("FRESHET_TEST_PARK"), "on"))
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, limit)}, cmd.Args...)
	s := startCommand(t, cmd)
	if log := s.Log(); !strings.Contains(log, "ulimit -n") || !strings.Contains(log, fmt.Sprintf("streams=%d", streams)) {
		t.Errorf("the log does not say how many streams the limit allows:\n%s", log)
	}
	var acked ledger
	publishAll(ctx, t, s, slices.Repeat([]client.Message{{Topic: "news", Data: strings.Repeat("x", 15_000)}}, events), &acked)

	// First as many streams as there may be, then connections without a request.
	var open []*client.Reader
	for {
		r, refused := from{"127.0.0.1", ""}.browser(ctx, t, s, "news")
		if refused {
			break
		}
		open = append(open, r)
	}
	if len(open) != streams {
		t.Errorf("%d streams, want %d", len(open), streams)
	}
	var closed atomic.Int32
	for range limit {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
		must(t, err)
		defer conn.Close()
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			closed.Add(1)
		}()
	}
	must(t, apptest.Until(ctx, func() bool { return closed.Load() >= streams+limit-connections }))
	if !strings.Contains(s.Log(), "connections are closed at once") {
		t.Error("the log does not say that connections are closed")
	}

	publishAll(ctx, t, s, []client.Message{{Topic: "news", Data: "last"}}, &acked) // on an open connection
	for _, r := range open {
		for f := dispatched(t, r); f.Data != "last"; { // the first stream may have begun before the tail had all events
			f = dispatched(t, r)
		}
	}
	// One reader takes the place of others, and comes back until it has it.
	open[0].Close()
	open[1].Close()
	var all received
	for e, err := range newClient(t, s, client.Config{}).Subscribe(ctx, client.Subscription{Topics: []string{"news"}, Since: "all"}) {
		must(t, err)
		if all.add(e); all.size() == acked.size() {
			break
		}
	}
	if err := all.fault(); err != nil || acked.missing(&all) > 0 {
		t.Errorf("misses %d of %d, %v", acked.missing(&all), acked.size(), err)
	}
	if strings.Contains(s.Log(), "too many open files") {
		t.Errorf("the log:\n%s", tail(s.Log()))
	}
}
