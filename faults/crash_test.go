package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"freshet/bench/drive"
	"freshet/event"
)

// Every event that was answered with 201 reaches every reader once and in order, however
// often the server is killed while publishers publish and readers come back.
func TestKilledAtAnyMoment(t *testing.T) {
	const rounds, publishers, readers = 20, 48, 5 // so many that they are committed together
	ctx := begin(t)
	dir := t.TempDir()
	address, err := drive.QuietAddress(ctx)
	must(t, err)
	s := start(ctx, t, dir, "--listen", address)

	var books drive.Books
	halt, reading := context.WithCancel(ctx)
	defer reading()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var publishing, following sync.WaitGroup
	for n := range publishers {
		client := s.Client
		publishing.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				data := fmt.Sprintf("%d/%d", n, i)
				for writing.Err() == nil {
					// The key makes the retry after a lost answer harmless.
					id, err := client.Publish(ctx, "news", data, data)
					if err == nil {
						books.Acknowledge(id)
						break
					}
				}
			}
		})
	}
	accounts := make([]drive.Account, readers)
	for n := range accounts {
		seen := map[string]bool{}
		source := drive.EventSource{
			Request: drive.Request{URL: s.URL + "/event/news?since=all"},
		}
		source.Event = func(f event.Frame) {
			accounts[n].See(f)
			if seen[f.Data] {
				t.Errorf("reader %d: %s came twice, the second time as %s", n, f.Data, f.ID)
			}
			seen[f.Data] = true
		}
		following.Go(func() {
			if err := source.Run(halt); err != nil {
				t.Errorf("reader %d: %v", n, err)
			}
		})
	}
	for range rounds {
		goal := books.Len() + 100 + rand.IntN(600)
		must(t, drive.Until(ctx, func() bool { return books.Len() >= goal }))
		s.Kill()
		s = start(ctx, t, dir, "--listen", address)
	}
	goal := books.Len() + 50
	must(t, drive.Until(ctx, func() bool { return books.Len() >= goal }))
	stop()
	publishing.Wait() // what is under way is answered
	for n := range accounts {
		a := &accounts[n]
		if err := drive.Until(ctx, func() bool { return books.Missing(a, 0) == 0 }); err != nil {
			t.Errorf("reader %d misses %d of %d events: %v", n, books.Missing(a, 0), books.Len(), err)
		}
	}
	reading()
	following.Wait()
	for n := range accounts {
		if err, gaps := accounts[n].Err(), accounts[n].Gaps(); err != nil || len(gaps) > 0 {
			t.Errorf("reader %d: %v, gaps: %s", n, err, strings.Join(gaps, " "))
		}
	}
	t.Logf("%d events were acknowledged over %d kills", books.Len(), rounds)
}
