package hub_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The number of JetStream consumers does not grow with the number of subscribers that are behind: there are some for the
// replays now, some that the log keeps for the next pieces, and one for the tail.
func TestConsumersAreBounded(t *testing.T) {
	const events, subscribers, replays, kept, tail = 6000, 100, 4, 64, 1
	nc, url := startNATS(t)
	log, err := eventlog.Open(t.Context(), eventlog.Config{NATS: url})
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })
	entries := make([]eventlog.Entry, events)
	for i := range entries {
		entries[i].Event = eventlogtest.NewEvent(t, "t."+strconv.Itoa(i%10), "x", strconv.Itoa(i))
	}
	for _, r := range log.AppendAll(t.Context(), entries) {
		must(t, r.Err)
	}
	h := start(t, log, hub.Config{WindowBytes: 10_000, Replays: replays})

	js, err := nc.JetStream()
	must(t, err)
	consumers := func() int {
		info, err := js.StreamInfo("freshet")
		must(t, err)
		return info.State.Consumers
	}
	var reading sync.WaitGroup
	for range subscribers {
		reading.Go(func() {
			patterns := eventlogtest.Patterns(t, "t."+strconv.Itoa(rand.IntN(10)), "t."+strconv.Itoa(rand.IntN(10)))
			from := rand.Uint64N(events)
			r := newReader(t, h, hub.Request{Patterns: patterns, LastEventID: event.NewID(log.Epoch(), from).String()})
			defer r.Close()
			var rest []*hub.Entry
			for i := from; i < events; i++ {
				if !patterns.Match(entries[i].Event.Topic()) {
					continue
				}
				if len(rest) == 0 {
					rest = r.read()
				}
				if len(rest) == 0 || rest[0].Event.Data() != entries[i].Event.Data() {
					t.Errorf("%v: event %d did not come", patterns, i)
					return
				}
				rest = rest[1:]
			}
		})
	}
	done := make(chan struct{})
	go func() { reading.Wait(); close(done) }()
	most := 0
	for reads := true; reads; {
		most = max(most, consumers())
		select {
		case <-done:
			reads = false
		default:
		}
	}
	if most <= tail+1 || most > replays+kept+tail {
		t.Errorf("%d consumers at once for %d subscribers; want up to %d", most, subscribers, replays+kept+tail)
	}
	for end := time.After(30 * time.Second); consumers() > tail; {
		select {
		case <-end:
			t.Fatalf("%d consumers are left", consumers())
		default:
		}
	}
}

func startNATS(t *testing.T) (*nats.Conn, string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	must(t, err)
	t.Cleanup(nc.Close)
	return nc, s.ClientURL()
}
