//go:build full

package faults_test

import (
	"fmt"
	"slices"
	"testing"

	"freshet/app/apptest"
)

// The node that follows the source is killed: another node goes on where it stopped. The lease of a killed node lasts 15 seconds.
func TestARelayMovesToAnotherNode(t *testing.T) {
	heavy(t)
	ctx := begin(t)
	source := start(ctx, t, t.TempDir())
	servers := startNATSCluster(t)
	args := []string{"--nats", servers.urls(), "--replicas", "3", "--listen", "127.0.0.1:0", "--relay", "copy=" + source.URL + "/event/news?since=all"}
	nodes := []*apptest.Process{start(ctx, t, t.TempDir(), args...), start(ctx, t, t.TempDir(), args...)}
	const before, after = 200, 100
	for i := range before {
		publish(ctx, t, source, "news", fmt.Sprint(i))
	}
	relayed(ctx, t, nodes[1], "copy", before)
	nodes[0].Kill() // it started first, so it has the lease
	for i := range after {
		publish(ctx, t, source, "news", fmt.Sprint(before+i))
	}
	if have := relayed(ctx, t, nodes[1], "copy", before+after); !slices.Equal(have, numbers(before+after)) {
		t.Errorf("the other node has %q of %d events", have, before+after)
	}
}
