package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// Readers that are far behind get every event of their topics from the log, once and in
// order, while publishing continues. The benchmark replay measures how fast.
func TestDeepReplay(t *testing.T) {
	heavy(t)
	const events, batch, topics, readers = replayEvents, 2000, 10, replayReaders
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--window-bytes", "1MiB", "--max-replays", "8")
	var rare, all ledger
	byTopic := make([]ledger, topics)
	publish := func(from, n int) (last event.ID) {
		messages := make([]client.Message, n)
		for i := range messages {
			topic := fmt.Sprintf("t.%d", (from+i)%topics)
			if (from+i)%(events/10) == events/20 {
				topic = "rare"
			}
			messages[i] = client.Message{Topic: topic, Data: fmt.Sprint(from + i)}
		}
		results, err := s.PublishAll(ctx, messages)
		if err != nil {
			t.Errorf("%d of %d events were stored: %v", len(results), n, err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Errorf("event %d: %v", from+i, r.Err)
				continue
			}
			all.add(r.ID)
			if messages[i].Topic == "rare" {
				rare.add(r.ID)
			} else {
				byTopic[(from+i)%topics].add(r.ID)
			}
			last = r.ID
		}
		return last
	}
	var last event.ID
	for i := 0; i < events; i += batch {
		last = publish(i, batch)
	}

	publishing, stop := context.WithCancel(ctx)
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := events; publishing.Err() == nil; i += topics {
			publish(i, topics)
		}
	})
	var reading sync.WaitGroup
	read := func(pattern string, after uint64, due *ledger) {
		reading.Go(func() { readBehind(ctx, t, s, pattern, event.NewID(last.Epoch(), after), due) })
	}
	read(">", 0, &all)
	read("rare", 0, &rare)
	for range readers {
		n := rand.IntN(topics)
		read(fmt.Sprintf("t.%d", n), rand.Uint64N(events), &byTopic[n])
	}
	reading.Wait()
	stop()
	publisher.Wait()
	if rare.size() < 10 {
		t.Errorf("%d events of the rare topic", rare.size())
	}
}

// readBehind resumes after the ID and reads every event that was acknowledged before it began.
func readBehind(ctx context.Context, t *testing.T, s *apptest.Process, pattern string, after event.ID, due *ledger) {
	upto := due.last()
	if after.Seq() >= upto {
		return
	}
	var seen received
	for e, err := range s.Subscribe(ctx, client.Subscription{
		Topics: []string{pattern}, LastEventID: after.String(), Header: asBrowser(),
		Disconnected: func(err error, _ time.Duration) { t.Errorf("%s after %v: lost its stream: %v", pattern, after, err) },
	}) {
		if err != nil {
			t.Errorf("%s after %v: %v", pattern, after, err)
			return
		}
		if pattern != ">" && e.Type != pattern { // the type is the topic
			t.Errorf("%s after %v: an event of type %s", pattern, after, e.Type)
			return
		}
		seen.add(e)
		if _, last := seen.upto(); last >= upto {
			break
		}
	}
	n, last := seen.upto()
	if want := due.between(after.Seq(), upto); n != want || last > upto || seen.fault() != nil {
		t.Errorf("%s after %v: %d events instead of %d, the last %d instead of %d; %v", pattern, after, n, want, last, upto, seen.fault())
	}
}
