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

// wire is the others, seen from one node: what it tells comes back, as from the real one.
type wire struct {
	told  chan []byte
	heard func(name string, data []byte)
}

func (w *wire) Tell(data []byte) { w.told <- data }

func (w *wire) Hear(ctx context.Context, fn func(name string, data []byte)) error {
	w.heard = fn
	for {
		select {
		case data := <-w.told:
			fn("me", data)
		case <-ctx.Done():
			return nil
		}
	}
}

// The operator sees every node that is there, and for some seconds one that is gone.
func TestFiguresOfTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{told: make(chan []byte, 1)}
		s := newServer(t, func(c *handlers.Config) { c.Nodes = w })
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
		w.heard("x", []byte(`{"node":"n2","connections":7}`))
		w.heard("y", []byte(`{"node":"n1"}`)) // another process on the same machine
		w.heard("z", []byte(`[]`))
		seen("n1", "n1", "n2")
		pass(7 * time.Second)
		seen("n1", "n1", "n2")
		w.heard("x", []byte(`{"node":"n2","connections":7}`))
		pass(2 * time.Second)
		seen("n1", "n2")
		pass(7 * time.Second)
		seen("n1")
	})
}
