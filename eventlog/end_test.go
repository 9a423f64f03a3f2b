package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// While a topic ends, each publisher that gets an ID has an event before the end.
func TestAnEndDuringAppends(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for round := range 20 {
		topic := fmt.Sprintf("job.%d", round)
		e := eventlogtest.NewEvent(t, topic, "x", "x")
		var ids []event.ID
		var mu sync.Mutex
		var wg sync.WaitGroup
		begun := make(chan struct{}, 1000)
		for range 20 {
			wg.Go(func() {
				for {
					r := l.Append(t.Context(), eventlog.Entry{Event: e})
					if errors.Is(r.Err, eventlog.ErrEnded) {
						return
					}
					if r.Err != nil {
						t.Error(r.Err)
						return
					}
					select {
					case begun <- struct{}{}:
					default:
					}
					mu.Lock()
					ids = append(ids, r.ID)
					mu.Unlock()
				}
			})
		}
		for range 30 {
			<-begun
		}
		end := l.End(t.Context(), e.Topic(), "", event.TTL{})
		must(t, end.Err)
		wg.Wait()
		for _, id := range ids {
			if id.Seq() > end.ID.Seq() {
				t.Errorf("%v was acknowledged after the end %v", id, end.ID)
			}
		}
	}
}

// A node learns from the log that another node has ended a topic. Nodes that append to one topic at the same time do not refuse each other.
func TestEndsInACluster(t *testing.T) {
	t.Parallel()
	url := clusterNATS(t)
	var nodes []*eventlog.Log
	var tails sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer tails.Wait()
	defer cancel()
	ends := make(chan event.Event, 100)
	for range 3 {
		l := open(t, eventlog.Config{NATS: url, Replicas: 3})
		nodes = append(nodes, l)
		tails.Go(func() {
			_ = l.Tail(ctx, 0, func() {}, func(e event.Event) error { // until the test's end
				if e.Type() == event.TypeEnd {
					ends <- e
				}
				return nil
			})
		})
	}
	job := eventlogtest.NewEvent(t, "job", "x", "x")
	for _, l := range nodes {
		must(t, apptest.Until(t.Context(), func() bool { // the node's server may not know the stream's leader yet
			return l.Append(t.Context(), eventlog.Entry{Event: job}).Err == nil
		}))
	}
	first := nodes[0].End(t.Context(), job.Topic(), "k", event.TTL{})
	must(t, first.Err)
	for range nodes {
		<-ends
	}
	for i, l := range nodes {
		if r := l.Append(t.Context(), eventlog.Entry{Event: job}); !errors.Is(r.Err, eventlog.ErrEnded) {
			t.Errorf("node %d stored an event after the end: %+v", i, r)
		}
		if r := l.End(t.Context(), job.Topic(), "k", event.TTL{}); r.Err != nil || !r.Repeat || r.ID != first.ID {
			t.Errorf("node %d: a repeat of the end got %+v", i, r)
		}
	}
	var wg sync.WaitGroup
	for i, l := range nodes {
		for range 10 {
			wg.Go(func() {
				for round := range 10 {
					entry := eventlog.Entry{Event: eventlogtest.NewEvent(t, fmt.Sprintf("round.%d", round), "x", "x")}
					if r := l.Append(t.Context(), entry); r.Err != nil {
						t.Errorf("node %d, round %d: %v", i, round, r.Err)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestAnEndSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	e := eventlogtest.NewEvent(t, "job", "x", "x")
	must(t, l.End(t.Context(), e.Topic(), "k", event.TTL{}, eventlog.Entry{Event: e}).Err)
	must(t, l.Close())
	l = open(t, eventlog.Config{Dir: dir})
	if r := l.Append(t.Context(), eventlog.Entry{Event: e}); !errors.Is(r.Err, eventlog.ErrEnded) {
		t.Errorf("an append got %+v", r)
	}
	if r := l.End(t.Context(), e.Topic(), "k", event.TTL{}, eventlog.Entry{Event: e}); r.Err != nil || !r.Repeat {
		t.Errorf("a repeat of the end got %+v", r)
	}
	appendOne(t, l, "other", "x", "")
}

// The holes that a purge makes are no loss: the log keeps its epoch. A loss in the same log is still found.
func TestAPurgeIsNoLoss(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	epoch := l.Epoch()
	e := eventlogtest.NewEvent(t, "secret", "secret", "x")
	appendOne(t, l, "news", "before", "")
	for range 3 {
		appendOne(t, l, "secret", "x", "")
		appendOne(t, l, "news", "between", "")
	}
	_, deleted, err := l.Purge(t.Context(), e.Topic())
	must(t, err)
	last := appendOne(t, l, "news", "after", "")
	must(t, l.Close())
	for range 2 {
		l = open(t, eventlog.Config{Dir: dir})
		if l.Epoch() != epoch || deleted != 3 {
			t.Errorf("epoch %d, then %d; %d deleted", epoch, l.Epoch(), deleted)
		}
		if got := read(t, l, 0, "news"); len(got) != 5 {
			t.Errorf("%q are left", got)
		}
		must(t, l.Close())
	}
	s := startNATS(t, dir, server.RANDOM_PORT) // deletes an event, as damage on disk does
	nc, err := nats.Connect(s.ClientURL())
	must(t, err)
	js, err := jetstream.New(nc)
	must(t, err)
	stream, err := js.Stream(t.Context(), "freshet")
	must(t, err)
	must(t, stream.DeleteMsg(t.Context(), last.Seq()-2))
	nc.Close()
	s.Shutdown()
	s.WaitForShutdown()
	l = open(t, eventlog.Config{Dir: dir})
	if l.Epoch() == epoch {
		t.Error("a loss beside the holes was not found")
	}
}

func TestALastEventThatIsTooLarge(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), MaxEvent: 1000})
	e := eventlogtest.NewEvent(t, "job", "x", strings.Repeat("x", 200_000))
	if r := l.End(t.Context(), e.Topic(), "", event.TTL{}, eventlog.Entry{Event: e}); !errors.Is(r.Err, eventlog.ErrTooLarge) {
		t.Errorf("the end got %+v", r)
	}
	appendOne(t, l, "job", "still open", "")
}
