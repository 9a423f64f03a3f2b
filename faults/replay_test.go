package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"

	"freshet/bench/drive"
	"freshet/event"
)

// Readers that are far behind get all that they are due from the log, each once and in
// order, while publishing goes on; the command bench/replay measures how fast.
func TestDeepReplay(t *testing.T) {
	const events, batch, topics, readers = 50_000, 2000, 10, 100
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--window-bytes", "1MiB", "--max-replays", "8")
	var rare, all drive.Books
	books := make([]drive.Books, topics)
	publish := func(from, n int) event.ID {
		var body strings.Builder
		for i := from; i < from+n; i++ {
			topic := fmt.Sprintf("t.%d", i%topics)
			if i%(events/10) == events/20 {
				topic = "rare"
			}
			fmt.Fprintf(&body, `{"topic":%q,"data":"%d"}`+"\n", topic, i)
		}
		ids, err := s.PublishMany(ctx, body.String())
		if err != nil || len(ids) != n {
			t.Errorf("%d of %d events were stored: %v", len(ids), n, err)
			return event.ID{}
		}
		for i, id := range ids {
			all.Acknowledge(id)
			if (from+i)%(events/10) == events/20 {
				rare.Acknowledge(id)
			} else {
				books[(from+i)%topics].Acknowledge(id)
			}
		}
		return ids[n-1]
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
	read := func(pattern string, after uint64, due *drive.Books) {
		reading.Go(func() { readBehind(ctx, t, s, pattern, event.NewID(last.Epoch(), after), due) })
	}
	read(">", 0, &all)
	read("rare", 0, &rare)
	for range readers {
		n := rand.IntN(topics)
		read(fmt.Sprintf("t.%d", n), rand.Uint64N(events), &books[n])
	}
	reading.Wait()
	stop()
	publisher.Wait()
	if rare.Len() < 10 {
		t.Errorf("%d events of the rare topic", rare.Len())
	}
}

// readBehind resumes behind the ID and reads until it has all that was acknowledged when
// it began.
func readBehind(ctx context.Context, t *testing.T, s *drive.Server, pattern string, after event.ID, due *drive.Books) {
	upto := due.Last()
	r, err := drive.Open(ctx, drive.Request{URL: s.URL + "/event?topic=" + url.QueryEscape(pattern), LastEventID: after.String()})
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	var seen drive.Account
	for seen.Last() < upto {
		f, err := r.Event("")
		if err != nil {
			t.Errorf("%s after %v: %v", pattern, after, err)
			return
		}
		if pattern != ">" && f.Type != pattern { // the type is the topic's name
			t.Errorf("%s after %v: an event of type %s", pattern, after, f.Type)
			return
		}
		seen.See(f)
	}
	if want := due.Between(after.Seq(), upto); seen.Len() != want || seen.Last() > upto || seen.Err() != nil {
		t.Errorf("%s after %v: %d events instead of %d, the last %d instead of %d; %v", pattern, after, seen.Len(), want, seen.Last(), upto, seen.Err())
	}
}
