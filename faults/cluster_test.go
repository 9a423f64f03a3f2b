package faults_test

import (
	"context"
	"testing"
)

// Three nodes share a cluster of three NATS servers. Servers freeze and are cut off, and a node starts during an election. Every event
// that was acknowledged reaches every reader once and in order, although readers move between nodes. All nodes continue meanwhile.
func TestAClusterWhoseServersFreeze(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	servers := startNATSCluster(t)
	load := startClusterLoad(ctx, t, servers)

	leader, _ := servers.roles(ctx, t)
	load.during(ctx, t, "the leader freezes, and a node starts", func(t *testing.T) {
		leader.freeze(t)
		load.startNode(ctx, t, servers.urls())
	}, leader.thaw)
	if full {
		_, others := servers.roles(ctx, t)
		load.during(ctx, t, "another server freezes", others[0].freeze, others[0].thaw)
		leader, _ = servers.roles(ctx, t)
		load.during(ctx, t, "the leader is cut off", leader.cut, leader.heal)
		_, others = servers.roles(ctx, t)
		load.during(ctx, t, "another server is cut off", others[0].cut, others[0].heal)
	}
	load.finish(ctx, t)
}
