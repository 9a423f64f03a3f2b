package eventlog_test

import (
	"context"
	"testing"
	"time"

	"freshet/eventlog"
)

// Each node receives the messages of all nodes, its own included, with the sender's name.
func TestNodesHearOfOneAnother(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type told struct {
		to         int
		name, what string
	}
	heard, ended := make(chan told), make(chan error, 2)
	var nodes []*eventlog.Nodes
	for i := range 2 {
		n := open(t, eventlog.Config{NATS: url}).Nodes()
		nodes = append(nodes, n)
		go func() {
			ended <- n.Subscribe(ctx, func(name string, data []byte) {
				select {
				case heard <- told{i, name, string(data)}:
				case <-ctx.Done():
				}
			})
		}()
	}
	all := map[told]bool{}
	for again := time.NewTicker(20 * time.Millisecond); len(all) < 4; {
		select {
		case x := <-heard:
			all[x] = true
		case <-again.C: // messages sent before a node listens are lost
			nodes[0].Publish([]byte("a"))
			nodes[1].Publish([]byte("b"))
		}
	}
	names := map[string]string{}
	for x := range all {
		if by, known := names[x.what]; known && by != x.name {
			t.Errorf("one node's message came from %s and %s", by, x.name)
		}
		names[x.what] = x.name
	}
	if len(names) != 2 || names["a"] == names["b"] {
		t.Errorf("heard %v", all)
	}
	cancel()
	for range nodes {
		must(t, <-ended)
	}
}
