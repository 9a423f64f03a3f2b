package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// Every acknowledged event reaches every reader once and in order, however often the server
// is killed while publishers publish and readers come back.
func TestKilledAtAnyMoment(t *testing.T) {
	heavy(t)
	const publishers, readers = 48, 5 // so many publishers that their events share commits
	ctx := begin(t)
	dir := t.TempDir()
	address := apptest.FreeAddress(t)
	s := start(ctx, t, dir, "--listen", address)

	var acked ledger
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	var publishing sync.WaitGroup
	c := newClient(t, s, client.Config{}) // it retries with the same key after a lost answer
	for n := range publishers {
		publishing.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				id, err := c.Publish(ctx, client.Message{Topic: "news", Data: fmt.Sprintf("%d/%d", n, i)})
				if err != nil {
					t.Errorf("publisher %d: %v", n, err)
					return
				}
				acked.add(id)
			}
		})
	}
	all := make([]received, readers)
	stops := make([]func(), readers)
	for n := range all {
		seen := map[string]bool{}
		stops[n] = follow(ctx, t, c, client.Subscription{Topics: []string{"news"}, Since: "all"}, func(e client.Event) {
			all[n].add(e)
			if seen[e.Data] {
				t.Errorf("reader %d: %s came twice, the second time as %s", n, e.Data, e.ID)
			}
			seen[e.Data] = true
		})
	}
	waitFor := func(more int) {
		goal := acked.size() + more
		must(t, apptest.Until(ctx, func() bool { return acked.size() >= goal }))
	}
	for range kills {
		waitFor(100 + rand.IntN(600))
		s.Kill()
		s = start(ctx, t, dir, "--listen", address)
	}
	waitFor(50)
	stopWriting()
	publishing.Wait() // the last publishes get their answers
	for n := range all {
		if err := apptest.Until(ctx, func() bool { return acked.missing(&all[n]) == 0 }); err != nil {
			t.Errorf("reader %d misses %d of %d events: %v", n, acked.missing(&all[n]), acked.size(), err)
		}
		stops[n]()
		if err := all[n].fault(); err != nil {
			t.Errorf("reader %d: %v", n, err)
		}
	}
	t.Logf("%d events were acknowledged over %d kills", acked.size(), kills)
}
