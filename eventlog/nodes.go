package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

const (
	// nodesSubject and a node's ID is the subject of the node's messages. With requestSuffix it is the subject of requests
	// to the node. Neither is a subject of the stream, so nothing sent there is stored.
	nodesSubject  = streamName + "-nodes."
	requestSuffix = ".request"

	// nodeTimeout bounds a request to another node.
	nodeTimeout = 3 * time.Second
)

// ErrNodeAway is the error of [Nodes.Request] if there is no answer.
var ErrNodeAway = errors.New("the node does not answer")

// Nodes sends short messages and requests between the nodes of one log.
type Nodes struct {
	log *Log
	id  string
}

// Nodes returns this node's access to the others, under a new ID.
func (l *Log) Nodes() *Nodes { return &Nodes{l, nuid.Next()} }

// ID returns this node's ID, which no other node has.
func (n *Nodes) ID() string { return n.id }

// Publish sends data to every node that listens now, itself included. It does not block; while
// the connection is lost, nothing is sent.
func (n *Nodes) Publish(data []byte) {
	_ = n.log.nc.Publish(nodesSubject+n.id, data) // senders repeat themselves, so a message may be lost
}

// Request sends a request to the node with the ID and returns its answer. It returns [ErrNodeAway] after three seconds without an answer, and
// at once if the node does not listen.
func (n *Nodes) Request(ctx context.Context, id string, request []byte) ([]byte, error) {
	ctx, cancel := n.log.withTimeout(ctx, nodeTimeout)
	defer cancel()
	answer, err := n.log.nc.RequestWithContext(ctx, nodesSubject+id+requestSuffix, request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNodeAway, err)
	}
	return answer.Data, nil
}

// Listen calls hear with each message and its sender's ID, and answer with each request to this node, until ctx is done. Neither function is
// called a second time before it has returned. An answer should be small: NATS accepts 1 MiB by default. Listen fails if the connection
// is closed.
func (n *Nodes) Listen(ctx context.Context, hear func(id string, data []byte), answer func(request []byte) []byte) error {
	messages, err := n.log.nc.Subscribe(nodesSubject+"*", func(m *nats.Msg) {
		hear(strings.TrimPrefix(m.Subject, nodesSubject), m.Data)
	})
	if err != nil {
		return fmt.Errorf("listen to the other nodes: %w", err)
	}
	requests, err := n.log.nc.Subscribe(nodesSubject+n.id+requestSuffix, func(m *nats.Msg) {
		if err := m.Respond(answer(m.Data)); err != nil {
			n.log.logger.Debug("the answer to another node is lost", "error", err) // which then has a time-out
		}
	})
	if err != nil {
		return fmt.Errorf("listen to the other nodes: %w", err)
	}
	<-ctx.Done()
	_, _ = messages.Unsubscribe(), requests.Unsubscribe() // fails only if the connection is closed
	return nil
}
