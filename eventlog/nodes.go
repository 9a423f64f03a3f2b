package eventlog

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// nodesSubject is not a subject of the stream: nothing sent there is stored.
const nodesSubject = streamName + "-nodes."

// Nodes sends short messages between the nodes of one log.
type Nodes struct {
	nc   *nats.Conn
	name string
}

// Nodes returns this node's access to the others, under a unique name.
func (l *Log) Nodes() *Nodes { return &Nodes{l.nc.Conn, nuid.Next()} }

// Publish sends data to every node that listens now, itself included. It does not block; while
// the connection is lost, nothing is sent.
func (n *Nodes) Publish(data []byte) {
	_ = n.nc.Publish(nodesSubject+n.name, data) // senders repeat themselves, so a message may be lost
}

// Subscribe calls fn, one call at a time, with each message and its sender's name, until ctx is
// done. It fails if the connection is closed.
func (n *Nodes) Subscribe(ctx context.Context, fn func(name string, data []byte)) error {
	subscription, err := n.nc.Subscribe(nodesSubject+"*", func(m *nats.Msg) {
		fn(strings.TrimPrefix(m.Subject, nodesSubject), m.Data)
	})
	if err != nil {
		return fmt.Errorf("listen to the other nodes: %w", err)
	}
	<-ctx.Done()
	_ = subscription.Unsubscribe() // fails only if the connection is closed
	return nil
}
