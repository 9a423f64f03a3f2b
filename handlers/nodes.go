package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"freshet/event"
	"freshet/limit"
)

// Nodes sends messages and requests between the nodes of a log; [eventlog.Nodes] has the rules.
type Nodes interface {
	ID() string
	Publish(data []byte)
	Request(ctx context.Context, id string, request []byte) (answer []byte, err error)
	Listen(ctx context.Context, hear func(id string, data []byte), answer func(request []byte) []byte) error
}

// nodeExpiry is how long a node is listed after its last message.
const nodeExpiry = 4 * statsInterval

// maxOthers is how many other nodes are listed. A NATS client that sends under many IDs cannot fill the memory.
const maxOthers = 256

// nodes has the newest stats of each node of the log.
type nodes struct {
	id       string // this node's
	logger   *slog.Logger
	sameName limit.Log

	mu     sync.Mutex
	own    nodeStats
	others map[string]received // by ID
}

type received struct {
	nodeStats
	first, at time.Time // of the first message and of the last one
}

// clusterStats are figures of all nodes together. What each node counts for the whole log, such as published events, has no sum.
type clusterStats struct {
	Nodes      int      `json:"nodes"`
	Streams    int      `json:"connections"`
	Delivered  uint64   `json:"delivered"`
	DeliveredR float64  `json:"delivered_per_s"`
	P50        *float64 `json:"latency_p50_ms"` // of the slowest node
	P99        *float64 `json:"latency_p99_ms"` // of the slowest node
	Memory     uint64   `json:"memory_bytes"`
}

// setOwn replaces this node's stats.
func (n *nodes) setOwn(own nodeStats) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own = own
}

// hear takes the stats of a node.
func (n *nodes) hear(id string, data []byte) {
	now := time.Now()
	r := received{first: now, at: now}
	if json.Unmarshal(data, &r.nodeStats) != nil {
		return // a node of another version
	}
	if r.NodeID = id; id == n.id {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeExpired()
	if before, known := n.others[id]; known {
		r.first = before.first
	} else if len(n.others) >= maxOthers {
		return
	}
	n.others[id] = r
	if r.Node == n.own.Node && n.sameName.Allow() > 0 {
		n.logger.Warn("another running node has the name of this one; start each with its own --node", "node", r.Node, "node_id", n.id, "other_node_id", id)
	}
}

func (n *nodes) removeExpired() {
	maps.DeleteFunc(n.others, func(_ string, r received) bool { return time.Since(r.at) > nodeExpiry })
}

// replaced reports whether the node was silent since another one with its name was first heard: it was restarted.
func (n *nodes) replaced(r received) bool {
	for _, other := range n.others {
		if other.Node == r.Node && other.first.After(r.at) {
			return true
		}
	}
	return false
}

// all returns the stats of the listed nodes, ordered by name. This node is always listed.
func (n *nodes) all() []nodeStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeExpired()
	all := []nodeStats{n.own}
	for _, r := range n.others {
		if !n.replaced(r) {
			all = append(all, r.nodeStats)
		}
	}
	slices.SortFunc(all, func(a, b nodeStats) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(b.Uptime, a.Uptime))
	})
	return all
}

// totals returns the stats of the listed nodes together.
func (n *nodes) totals() (t clusterStats) {
	for _, s := range n.all() {
		t.Nodes++
		t.Streams += s.Streams
		t.Delivered += s.Delivered
		t.DeliveredR += s.DeliveredR
		t.P50, t.P99 = higher(t.P50, s.P50), higher(t.P99, s.P99)
		t.Memory += s.Memory
	}
	return t
}

func higher(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// nodeRef is a listed node.
type nodeRef struct{ id, name string }

// find returns the listed node with the name or ID; this node if the text is empty.
func (n *nodes) find(node string) (nodeRef, error) {
	node = cmp.Or(node, n.id)
	var found []nodeRef
	for _, s := range n.all() {
		ref := nodeRef{s.NodeID, s.Node}
		switch node {
		case s.NodeID:
			return ref, nil
		case s.Node:
			found = append(found, ref)
		}
	}
	switch len(found) {
	case 0:
		return nodeRef{}, fmt.Errorf("%w %.40q; GET /connections lists the nodes", errNoNode, node)
	case 1:
		return found[0], nil
	}
	return nodeRef{}, &event.InvalidError{Field: "node", Reason: fmt.Sprintf("%d nodes have this name; use a node_id from GET /connections, and give each node its own name", len(found))}
}
