package eventlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/eventlog"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// Each node receives the messages of all nodes, its own included, with the sender's ID.
func TestNodesHearOfOneAnother(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type told struct {
		to       int
		id, what string
	}
	heard, ended := make(chan told), make(chan error, 2)
	var nodes []*eventlog.Nodes
	for i := range 2 {
		n := open(t, eventlog.Config{NATS: url}).Nodes()
		nodes = append(nodes, n)
		go func() {
			ended <- n.Listen(ctx, func(id string, data []byte) {
				select {
				case heard <- told{i, id, string(data)}:
				case <-ctx.Done():
				}
			}, nil)
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
	want := map[told]bool{}
	for i := range nodes {
		want[told{i, nodes[0].ID(), "a"}], want[told{i, nodes[1].ID(), "b"}] = true, true
	}
	if diff := cmp.Diff(want, all, cmp.AllowUnexported(told{})); diff != "" || nodes[0].ID() == nodes[1].ID() {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	cancel()
	for range nodes {
		must(t, <-ended)
	}
}

// A node gets an answer from each node, and from none once that has stopped.
func TestNodesAskOneAnother(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	type node struct {
		*eventlog.Nodes
		stop context.CancelFunc
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, ended := make(chan string), make(chan error, 3)
	var nodes []node
	for range 3 {
		n := open(t, eventlog.Config{NATS: url}).Nodes()
		listening, stop := context.WithCancel(ctx)
		nodes = append(nodes, node{n, stop})
		go func() {
			ended <- n.Listen(listening, func(string, []byte) {}, func(request []byte) []byte {
				if string(request) == "hang" {
					asked <- n.ID()
					<-listening.Done()
				}
				return append(request, n.ID()...)
			})
		}()
	}
	ask := func(from, to node, request string) (string, error) {
		answer, err := from.Request(ctx, to.ID(), []byte(request))
		return string(answer), err
	}
	for _, from := range nodes {
		for _, to := range nodes {
			var answer string
			var err error
			must(t, apptest.Until(ctx, func() bool { // it may not listen yet
				answer, err = ask(from, to, "I am ")
				return !errors.Is(err, eventlog.ErrNodeAway)
			}))
			if must(t, err); answer != "I am "+to.ID() {
				t.Errorf("node %s answered %q", to.ID(), answer)
			}
		}
	}

	// A node that hangs.
	waiting, giveUp := context.WithCancel(ctx)
	answered := make(chan error, 1)
	go func() {
		_, err := nodes[0].Request(waiting, nodes[1].ID(), []byte("hang"))
		answered <- err
	}()
	if id := <-asked; id != nodes[1].ID() {
		t.Errorf("node %s was asked", id)
	}
	giveUp()
	if err := <-answered; !errors.Is(err, eventlog.ErrNodeAway) {
		t.Errorf("a node that hangs: %v", err)
	}

	// A node that has stopped.
	nodes[1].stop()
	must(t, <-ended)
	must(t, apptest.Until(ctx, func() bool {
		// The first may come before NATS knows, so it has no answer.
		soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := nodes[0].Request(soon, nodes[1].ID(), nil)
		return errors.Is(err, nats.ErrNoResponders) && errors.Is(err, eventlog.ErrNodeAway)
	}))
	if answer, err := ask(nodes[0], nodes[2], ""); err != nil || answer != nodes[2].ID() {
		t.Errorf("node %s answered %q, %v", nodes[2].ID(), answer, err)
	}
	cancel()
	must(t, errors.Join(<-ended, <-ended))
}
