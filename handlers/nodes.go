package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// Nodes sends messages between the nodes of a log; [eventlog.Nodes] has the rules.
type Nodes interface {
	Publish(data []byte)
	Subscribe(ctx context.Context, fn func(name string, data []byte)) error
}

// nodeExpiry is how long a node is listed after its last message.
const nodeExpiry = 4 * statsInterval

// nodes has the newest stats of each node of the log.
type nodes struct {
	mu     sync.Mutex
	byName map[string]received // by the unique name of the sender, unlike nodeStats.Node
}

type received struct {
	nodeStats
	at time.Time
}

func (n *nodes) receive(name string, data []byte) {
	r := received{at: time.Now()}
	if json.Unmarshal(data, &r.nodeStats) != nil {
		return // a node of another version
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeExpired()
	if n.byName == nil {
		n.byName = map[string]received{}
	}
	n.byName[name] = r
}

func (n *nodes) removeExpired() {
	maps.DeleteFunc(n.byName, func(_ string, r received) bool { return time.Since(r.at) > nodeExpiry })
}

// all returns the stats of the listed nodes, ordered by node.
func (n *nodes) all() []nodeStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeExpired()
	all := []nodeStats{}
	for _, r := range n.byName {
		all = append(all, r.nodeStats)
	}
	slices.SortFunc(all, func(a, b nodeStats) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(b.Uptime, a.Uptime))
	})
	return all
}
