package faults_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// Three nodes share a cluster of three NATS servers. Servers freeze, are cut off and die, and so do nodes. Every event that was
// acknowledged reaches every reader once and in order, although readers move between nodes. All nodes continue.
func TestAClusterThatBreaks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	l := startClusterLoad(ctx, t)
	leader, _ := l.servers.roles(ctx, t)
	l.run(ctx, t, round{
		what: "the leader freezes, and a node starts", lasts: clusterFault, mend: leader.thaw,
		fail: func(t *testing.T) {
			leader.freeze(t)
			l.startNode(ctx, t, l.servers.urls())
		},
	})
	if full {
		for _, r := range l.allRounds(ctx, t) {
			l.run(ctx, t, r(l.servers.roles(ctx, t)))
		}
	}
	l.finish(ctx, t)
}

// allRounds returns the rounds at full size. Each is made when it begins, with the stream's leader and the other servers.
func (l *clusterLoad) allRounds(ctx context.Context, t *testing.T) []func(leader *natsServer, others []*natsServer) round {
	t.Helper()
	nothing := func(*testing.T) {}
	return []func(leader *natsServer, others []*natsServer) round{
		func(_ *natsServer, others []*natsServer) round {
			return round{what: "another server freezes", fail: others[0].freeze, mend: others[0].thaw}
		},
		func(leader *natsServer, _ []*natsServer) round {
			return round{what: "the leader is cut off", fail: leader.cut, mend: leader.heal}
		},
		func(_ *natsServer, others []*natsServer) round {
			return round{what: "another server is cut off", fail: others[0].cut, mend: others[0].heal}
		},
		func(leader *natsServer, _ []*natsServer) round {
			return round{what: "the leader is killed", fail: func(*testing.T) { leader.stop() }, mend: leader.start}
		},
		func(*natsServer, []*natsServer) round {
			return round{what: "a node is killed", stops: true, fail: func(*testing.T) { l.nodes[0].Kill() }, mend: func(t *testing.T) { l.restartNode(ctx, t, 0) }}
		},
		func(*natsServer, []*natsServer) round {
			return round{what: "all NATS servers restart, one after the other", mend: nothing, fail: func(t *testing.T) {
				for _, s := range l.servers {
					s.end(os.Interrupt)
					s.start(t)
					l.servers.roles(ctx, t)
				}
			}}
		},
		func(*natsServer, []*natsServer) round {
			return round{what: "all nodes restart, one after the other", mend: nothing, fail: func(t *testing.T) {
				for i, node := range l.nodes {
					must(t, node.Signal(syscall.SIGTERM))
					must(t, node.Wait(ctx))
					l.restartNode(ctx, t, i)
				}
			}}
		},
		func(*natsServer, []*natsServer) round {
			return round{what: "all NATS servers are down", stops: true, lasts: 30 * time.Second, fail: func(t *testing.T) { l.withoutNATS(ctx, t) }, mend: func(t *testing.T) {
				for _, s := range l.servers {
					s.start(t)
				}
			}}
		},
	}
}

// withoutNATS kills all servers. Every node keeps its streams, sends heartbeats, and refuses publishers with the reason.
func (l *clusterLoad) withoutNATS(ctx context.Context, t *testing.T) {
	t.Helper()
	streams := make([]*client.Reader, len(l.nodes))
	for i, node := range l.nodes {
		streams[i] = open(ctx, t, node.Client, client.Subscription{Topics: []string{"nothing"}})
	}
	for _, s := range l.servers {
		s.stop()
	}
	for i, node := range l.nodes {
		var refusal *client.Error
		must(t, apptest.Until(ctx, func() bool { _, err := node.Get(ctx, "/readyz"); return errors.As(err, &refusal) }))
		if refusal.Status != http.StatusServiceUnavailable || refusal.Message == "" {
			t.Errorf("/readyz of node %d: %v", i, refusal)
		}
		if _, err := node.Publish(ctx, client.Message{Topic: "news", Data: "without NATS"}); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == 0 {
			t.Errorf("node %d answers a publisher with %v", i, err)
		}
		for range 10 { // heartbeats, most of them sent since
			if _, err := streams[i].Next(); err != nil {
				t.Fatalf("node %d ends a stream: %v", i, err)
			}
		}
	}
}
