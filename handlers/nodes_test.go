package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/ssetest"

	"github.com/google/go-cmp/cmp"
)

// fakeBus stands for the NATS between the nodes. A node gets its own messages too.
type fakeBus struct {
	mu     sync.Mutex
	hear   map[string]func(id string, data []byte)
	answer map[string]func(request []byte) []byte
	asked  int // requests that a node has answered
}

func newFakeBus() *fakeBus {
	return &fakeBus{hear: map[string]func(string, []byte){}, answer: map[string]func([]byte) []byte{}}
}

func (b *fakeBus) publish(id string, data string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, hear := range b.hear {
		hear(id, []byte(data))
	}
}

// fakeNode is a node's access to the bus.
type fakeNode struct {
	id  string
	bus *fakeBus
}

func (n fakeNode) ID() string          { return n.id }
func (n fakeNode) Publish(data []byte) { n.bus.publish(n.id, string(data)) }

func (n fakeNode) Request(_ context.Context, id string, request []byte) ([]byte, error) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	answer, ok := n.bus.answer[id]
	if !ok {
		return nil, eventlog.ErrNodeAway
	}
	n.bus.asked++
	return answer(request), nil
}

func (n fakeNode) Listen(ctx context.Context, hear func(id string, data []byte), answer func(request []byte) []byte) error {
	set := func(hear func(string, []byte), answer func([]byte) []byte) {
		n.bus.mu.Lock()
		defer n.bus.mu.Unlock()
		n.bus.hear[n.id], n.bus.answer[n.id] = hear, answer
	}
	set(hear, answer)
	<-ctx.Done()
	set(func(string, []byte) {}, func([]byte) []byte { return nil })
	return nil
}

// connectionsAnswer is the answer of GET /connections, or an error.
type connectionsAnswer struct {
	Node        string
	NodeID      string `json:"node_id"`
	Total       int
	Connections []struct{ ID, Node string }
	Nodes       []struct {
		Node        string
		NodeID      string `json:"node_id"`
		Connections int
	}
	Cluster map[string]any
	Error   struct{ Code, Message string }
}

func (s *server) connections(t *testing.T, query string) (a connectionsAnswer) {
	t.Helper()
	must(t, json.Unmarshal(s.do(http.MethodGet, "/connections"+query, "").Body.Bytes(), &a))
	return a
}

// The operator sees every running node, and a stopped node for some seconds more. A stats event has the totals of these nodes.
func TestStatsOfTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newFakeBus()
		s := newServer(t, func(c *handlers.Config) { c.Nodes = fakeNode{"me", bus} })
		seen := func(want ...string) {
			t.Helper()
			got := []string{}
			for _, n := range s.connections(t, "").Nodes {
				got = append(got, n.Node+" "+n.NodeID)
				if n.Node == "n2" && n.Connections != 7 {
					t.Errorf("n2 has %d connections, want 7", n.Connections)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		const other = `{"node":"n2","connections":7,"delivered":100,"delivered_per_s":2.5,"published":50,"latency_p50_ms":2,"latency_p99_ms":9,"memory_bytes":1000}`
		synctest.Wait()
		seen("n1 me")
		bus.publish("x", other)
		bus.publish("y", `{"node":"n1","connections":1,"delivered_per_s":1,"latency_p50_ms":3,"latency_p99_ms":4}`) // another process with this name
		bus.publish("z", `[]`)
		seen("n1 me", "n1 y", "n2 x")

		pass(time.Second) // the server makes stats at even seconds, and this stream gets them at odd ones
		stream := ssetest.Get(t, s, "/event/stats")
		stream.NextEvent() // from before the other nodes
		pass(2 * time.Second)
		var stats struct {
			Node    string
			NodeID  string         `json:"node_id"`
			Memory  float64        `json:"memory_bytes"`
			Cluster map[string]any `json:"cluster"`
		}
		must(t, json.Unmarshal([]byte(stream.NextEvent().Data), &stats))
		want := map[string]any{
			"nodes": 3.0, "connections": 9.0, "delivered": 100.0, "delivered_per_s": 3.5,
			"latency_p50_ms": 3.0, "latency_p99_ms": 9.0, "memory_bytes": stats.Memory + 1000,
		}
		if diff := cmp.Diff(want, stats.Cluster); diff != "" || stats.Node != "n1" || stats.NodeID != "me" {
			t.Errorf("stats of %s %s (-want +got):\n%s", stats.Node, stats.NodeID, diff)
		}
		if a := s.connections(t, ""); a.Cluster["nodes"] != 3.0 || a.Cluster["connections"] != 9.0 {
			t.Errorf("GET /connections has the totals %v", a.Cluster)
		}
		stream.Close()

		pass(4 * time.Second)
		seen("n1 me", "n1 y", "n2 x")
		bus.publish("x", other)
		pass(2 * time.Second)
		seen("n1 me", "n2 x")
		pass(7 * time.Second)
		seen("n1 me")
	})
}

// Without other nodes, the totals are this node's figures.
func TestStatsOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		a := s.connections(t, "?node=n1")
		if len(a.Nodes) != 1 || a.Node != "n1" || a.Cluster["nodes"] != 1.0 {
			t.Errorf("%+v", a)
		}
	})
}

// An operator sees and ends the streams of any node on any node.
func TestConnectionsOfAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newFakeBus()
		start := func(name, id string) *server {
			return newServer(t, func(c *handlers.Config) { c.Node, c.Nodes = name, fakeNode{id, bus} })
		}
		first, second := start("n1", "a"), start("n2", "b")
		// Each takes about a kilobyte of the list, so that it does not fit into one answer.
		const streams = 80
		query := "?"
		for i := range 5 {
			query += fmt.Sprintf("&topic=%d%s", i, strings.Repeat(`"`, 100))
		}
		var open []*ssetest.Stream
		for range streams {
			s := ssetest.Get(t, second, "/event"+query)
			s.Next()
			open = append(open, s)
		}
		pass(2 * time.Second)
		for limit, want := range map[int]int{1000: streams, 50: 50, 1: 1} {
			before := bus.asked
			a := first.connections(t, fmt.Sprintf("?node=n2&limit=%d", limit))
			var ids []string
			for _, c := range a.Connections {
				ids = append(ids, c.ID)
				if c.Node != "n2" {
					t.Errorf("a stream of %q", c.Node)
				}
			}
			if newest := second.connections(t, fmt.Sprintf("?limit=%d", limit)); cmp.Diff(newest.Connections, a.Connections) != "" {
				t.Errorf("n2 lists %v, n1 lists %v", newest.Connections, a.Connections)
			}
			if len(ids) != want || a.Total != streams || a.Node != "n2" || a.NodeID != "b" {
				t.Errorf("limit %d: %d of %d streams of %s %s: %v", limit, len(ids), a.Total, a.Node, a.NodeID, ids)
			}
			if pages := bus.asked - before; (pages > 1) != (limit > 1) {
				t.Errorf("limit %d: %d requests", limit, pages)
			}
		}
		if a := first.connections(t, ""); a.Total != 0 || len(a.Connections) != 0 || a.Node != "n1" || a.Cluster["connections"] != float64(streams) {
			t.Errorf("n1 has %d streams, the cluster %v", a.Total, a.Cluster)
		}

		last := second.connections(t, "?limit=1").Connections[0].ID
		end := func(path, token string, want int) {
			t.Helper()
			if w := first.do(http.MethodDelete, path, "", "Authorization", "Bearer "+token); w.Code != want {
				t.Errorf("DELETE %s: %d %s, want %d", path, w.Code, w.Body, want)
			}
		}
		operator := grant(t, auth.Grant{Operator: true})
		end("/connections/"+last, operator, http.StatusNotFound) // n1 has none
		end("/connections/"+last+"?node=n2", grant(t, auth.Grant{Subject: "u"}), http.StatusForbidden)
		end("/connections/"+last+"?node=n2", operator, http.StatusNoContent)
		if f := open[streams-1].NextEvent(); f.Type != "drain" {
			t.Errorf("the stream ended with %+v", f)
		}
		pass(time.Second)
		end("/connections/"+last+"?node=b", operator, http.StatusNotFound)
		if total := first.connections(t, "?node=b").Total; total != streams-1 {
			t.Errorf("n2 has %d streams", total)
		}

		start("n2", "c")
		pass(time.Second)
		bus.mu.Lock()
		delete(bus.answer, "a") // n1 needs no NATS to answer for itself
		delete(bus.answer, "b") // it hangs
		bus.mu.Unlock()
		if a := first.connections(t, "?node=n1"); a.NodeID != "a" {
			t.Errorf("%+v", a)
		}
		for node, want := range map[string]string{
			"n2": `invalid_node node: 2 nodes have this name`,
			"b":  "node_unreachable the node does not answer",
			"n3": `no_node no running node has the name or ID "n3"`,
		} {
			e := first.connections(t, "?node="+node).Error
			if got := e.Code + " " + e.Message; !strings.HasPrefix(got, want) {
				t.Errorf("node %s: %s", node, got)
			}
		}
		if a := first.connections(t, "?node=c"); a.NodeID != "c" {
			t.Errorf("%+v", a)
		}
		for _, s := range open {
			s.Close()
		}
	})
}

// A NATS client that sends as a node cannot fill the memory: neither with nodes, nor with an endless list of streams.
func TestHostileNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newFakeBus()
		s := newServer(t, func(c *handlers.Config) { c.Nodes = fakeNode{"me", bus} })
		synctest.Wait()
		bus.publish("x", `{"node":"n2"}`)
		bus.mu.Lock()
		bus.answer["x"] = func([]byte) []byte {
			more := bus.asked < 5000 // else the test would not end
			return fmt.Appendf(nil, `{"total":1,"connections":[{"id":"a"},{"id":"b"}],"more":%t}`, more)
		}
		bus.mu.Unlock()
		if a := s.connections(t, "?node=x&limit=3"); len(a.Connections) != 3 || a.Total != 1 {
			t.Errorf("%d connections of %d, want 3 of 1", len(a.Connections), a.Total)
		}
		for i := range 1000 {
			bus.publish(fmt.Sprint("many", i), `{"node":"many"}`)
		}
		bus.publish("x", `{"node":"n3"}`) // a known node stays
		nodes := s.connections(t, "").Nodes
		if len(nodes) != 257 || nodes[len(nodes)-1].Node != "n3" {
			t.Errorf("%d nodes, want this one and 256, with n3", len(nodes))
		}
		pass(10 * time.Second)
		bus.publish("y", `{"node":"n4"}`)
		if nodes := s.connections(t, "").Nodes; len(nodes) != 2 || nodes[1].Node != "n4" {
			t.Errorf("after the expiry, the nodes are %v, want n1 and n4", nodes)
		}
	})
}
