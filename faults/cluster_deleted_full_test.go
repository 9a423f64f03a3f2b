//go:build full

package faults_test

import (
	"syscall"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// An operator deletes the stream of a cluster. The next node that starts creates a new stream, and the other nodes end, because
// their log is gone. Every reader gets one gap, and then every event of the new log.
func TestAClusterWhoseStreamIsDeleted(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	servers := startNATSCluster(t)
	var nodes [3]*apptest.Process
	var dirs [len(nodes)]string
	startNode := func(i int, address string) {
		nodes[i] = start(ctx, t, dirs[i], "--listen", address, "--nats", servers.urls(), "--replicas", "3", "--heartbeat", "200ms")
	}
	var readers [2 * len(nodes)]struct {
		old, renewed received
		gaps         chan event.Gap
	}
	for i := range nodes {
		dirs[i] = t.TempDir()
		startNode(i, apptest.FreeAddress(t))
	}
	for i := range readers {
		r := &readers[i]
		r.gaps = make(chan event.Gap, 10)
		now := &r.old
		follow(ctx, t, nodes[i%len(nodes)].Client, client.Subscription{Topics: []string{"news"}, Since: "all"}, func(e client.Event) {
			if e.Gap != nil {
				now = &r.renewed
				r.gaps <- *e.Gap
				return
			}
			now.add(e)
		})
	}
	publishAll := func(acked *ledger) {
		for i := range 50 {
			c := newClient(t, nodes[i%len(nodes)], client.Config{})
			id, err := c.Publish(ctx, client.Message{Topic: "news", Data: "x"})
			must(t, err)
			acked.add(id)
		}
	}
	var old, renewed ledger
	publishAll(&old)
	for i := range readers {
		must(t, apptest.Until(ctx, func() bool { return old.missing(&readers[i].old) == 0 }))
	}
	must(t, servers.jetstream(t).DeleteStream(ctx, "freshet"))
	must(t, nodes[0].Signal(syscall.SIGTERM))
	must(t, nodes[0].Wait(ctx))
	startNode(0, nodes[0].Addr())
	for i, node := range nodes[1:] {
		if err := node.Wait(ctx); err == nil {
			t.Errorf("node %d ended without an error:\n%s", i+1, tail(node.Log()))
		}
		startNode(i+1, node.Addr())
	}
	publishAll(&renewed)
	for i := range readers {
		r := &readers[i]
		must(t, apptest.Until(ctx, func() bool { return renewed.missing(&r.renewed) == 0 }))
		if gap := <-r.gaps; gap.Reason != event.GapEpoch || len(r.gaps) > 0 {
			t.Errorf("reader %d got gap %+v, and %d more", i, gap, len(r.gaps))
		}
		for _, received := range []*received{&r.old, &r.renewed} {
			if err := received.fault(); err != nil || received.size() != 50 {
				t.Errorf("reader %d has %d events: %v", i, received.size(), err)
			}
		}
	}
}
