package handlers_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"freshet/handlers"

	"github.com/google/go-cmp/cmp"
)

// fakeNodes stands for the other nodes. A node gets its own messages too, as from the real ones.
type fakeNodes struct {
	published chan []byte
	receive   func(name string, data []byte)
}

func (n *fakeNodes) Publish(data []byte) { n.published <- data }

func (n *fakeNodes) Subscribe(ctx context.Context, fn func(name string, data []byte)) error {
	n.receive = fn
	for {
		select {
		case data := <-n.published:
			fn("me", data)
		case <-ctx.Done():
			return nil
		}
	}
}

// The operator sees every running node, and a stopped node for some seconds more.
func TestStatsOfTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		others := &fakeNodes{published: make(chan []byte, 1)}
		s := newServer(t, func(c *handlers.Config) { c.Nodes = others })
		seen := func(want ...string) {
			t.Helper()
			var list struct {
				Nodes []struct {
					Node        string
					Connections int
				}
			}
			must(t, json.Unmarshal(s.do("GET", "/connections", "").Body.Bytes(), &list))
			got := []string{}
			for _, n := range list.Nodes {
				got = append(got, n.Node)
				if n.Node == "n2" && n.Connections != 7 {
					t.Errorf("n2 has %d connections, want 7", n.Connections)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		synctest.Wait()
		seen("n1")
		others.receive("x", []byte(`{"node":"n2","connections":7}`))
		others.receive("y", []byte(`{"node":"n1"}`)) // another process on the same machine
		others.receive("z", []byte(`[]`))
		seen("n1", "n1", "n2")
		pass(7 * time.Second)
		seen("n1", "n1", "n2")
		others.receive("x", []byte(`{"node":"n2","connections":7}`))
		pass(2 * time.Second)
		seen("n1", "n2")
		pass(7 * time.Second)
		seen("n1")
	})
}
