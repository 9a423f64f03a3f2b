package handlers_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/app/apptest"
	"freshet/handlers"

	"github.com/google/go-cmp/cmp"
)

// A node that is restarted under its name has it at once: its entry from before is not listed beside it. Two running nodes
// with one name are both listed.
func TestANodeThatIsRestartedUnderItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newFakeBus()
		s := newServer(t, func(c *handlers.Config) { c.Nodes = fakeNode{"me", bus} })
		listed := func(want ...string) {
			t.Helper()
			ids := []string{}
			for _, n := range s.connections(t, "").Nodes {
				ids = append(ids, n.NodeID)
			}
			slices.Sort(ids)
			if diff := cmp.Diff(want, ids); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		synctest.Wait()
		say := func(id string) { bus.publish(id, `{"node":"n2"}`); pass(time.Second) }
		say("a")
		say("b")
		listed("b", "me")
		if a := s.connections(t, "?node=n2"); strings.Contains(a.Error.Message, "have this name") {
			t.Errorf("the restarted node by its name: %+v", a)
		}
		for range 5 { // a was not restarted: it goes on
			say("a")
			listed("a", "b", "me")
			say("b")
			listed("a", "b", "me")
		}
	})
}

// A node that hears another one with its name warns, and not at each message.
func TestTwoNodesWithOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newFakeBus()
		logged := &apptest.Buffer{}
		newServer(t, func(c *handlers.Config) {
			c.Nodes, c.Logger = fakeNode{"me", bus}, slog.New(slog.NewTextHandler(logged, nil))
		})
		synctest.Wait()
		for range 20 {
			bus.publish("other", `{"node":"n1"}`)
			bus.publish("third", `{"node":"n2"}`)
			pass(2 * time.Second)
		}
		if log := logged.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "node=n1 node_id=me other_node_id=other") {
			t.Errorf("the log:\n%s", log)
		}
	})
}
