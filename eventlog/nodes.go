package eventlog

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// nodesSubject is outside of the log: what is told there is not kept.
const nodesSubject = streamName + "-nodes."

// Nodes is how the nodes of one log hear of one another.
type Nodes struct {
	nc   *nats.Conn
	name string
}

// Nodes returns what this node tells the others and hears of them by, under a name that no
// other has.
func (l *Log) Nodes() *Nodes { return &Nodes{l.nc, nuid.Next()} }

// Tell sends every node that listens now what this one has to say, itself included. It does
// not wait; while the connection is lost, nothing is sent.
func (n *Nodes) Tell(data []byte) {
	_ = n.nc.Publish(nodesSubject+n.name, data) // what is told again and again may be lost
}

// Hear calls fn, one call at a time, with what each node tells and the node's name, until ctx
// is done. It fails where the connection was closed.
func (n *Nodes) Hear(ctx context.Context, fn func(name string, data []byte)) error {
	heard, err := n.nc.Subscribe(nodesSubject+"*", func(m *nats.Msg) {
		fn(strings.TrimPrefix(m.Subject, nodesSubject), m.Data)
	})
	if err != nil {
		return fmt.Errorf("listen to the other nodes: %w", err)
	}
	<-ctx.Done()
	_ = heard.Unsubscribe() // it may be that the connection is closed
	return nil
}
