package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Nodes is how nodes that share a log hear of one another; [eventlog.Nodes] has the rules.
type Nodes interface {
	Tell(data []byte)
	Hear(ctx context.Context, fn func(name string, data []byte)) error
}

// A node that has not been heard of for so long is taken to be gone.
const nodeSilence = 4 * statsInterval

// nodes holds what each node of the log told last.
type nodes struct {
	mu   sync.Mutex
	told map[string]told // by the node's own name
}

type told struct {
	figures
	at time.Time
}

func (n *nodes) hear(name string, data []byte) {
	t := told{at: time.Now()}
	if json.Unmarshal(data, &t.figures) != nil {
		return // of another version
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told == nil {
		n.told = map[string]told{}
	}
	n.told[name] = t
	for name, t := range n.told {
		if time.Since(t.at) > nodeSilence {
			delete(n.told, name)
		}
	}
}

// all are the figures of the nodes heard of lately, ordered by the nodes' names.
func (n *nodes) all() []figures {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []figures{}
	for _, t := range n.told {
		if time.Since(t.at) <= nodeSilence {
			all = append(all, t.figures)
		}
	}
	slices.SortFunc(all, func(a, b figures) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(b.Uptime, a.Uptime))
	})
	return all
}
