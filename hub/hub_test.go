package hub_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
	"freshet/metrics/latency"
)

// Every subscriber, however slow, gets exactly the events that its patterns select, once and in order, with a window
// much smaller than the traffic.
func TestEachSubscriberGetsAllOnceInOrder(t *testing.T) {
	log := eventlogtest.NewMemory()
	for i := range 3000 {
		log.Publish(t, topicOf(i), strconv.Itoa(i))
	}
	h := start(t, log, hub.Config{WindowBytes: 20_000, Replays: 2})
	const total = 12_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 3000; i < total; i++ {
			log.Publish(t, topicOf(i), strconv.Itoa(i))
		}
	})
	for n, pattern := range []string{">", "a.*", "a.1", "b.>", "*.2", "rare", ">"} {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(n)))
			from := rng.IntN(2500)
			r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, pattern), LastEventID: event.NewID(eventlogtest.Epoch, uint64(from)).String()})
			defer r.Close()
			want := 0
			for i := from; i < total; i++ {
				if eventlogtest.Patterns(t, pattern).Match(topic(t, topicOf(i))) {
					want++
				}
			}
			last, got := uint64(from), 0
			for got < want {
				for _, e := range r.read() {
					seq := e.Event.ID().Seq()
					if seq <= last || !eventlogtest.Patterns(t, pattern).Match(e.Event.Topic()) || e.Event.Data() != strconv.Itoa(int(seq)-1) {
						t.Errorf("%s: event %d after %d", pattern, seq, last)
					}
					last = seq
					got++
				}
			}
			if rest, _ := r.Next(nil); len(rest) != 0 {
				t.Errorf("%s: %d more than the %d due", pattern, len(rest), want)
			}
		})
	}
	wg.Wait()
}

func topicOf(i int) string {
	if i%1000 == 999 {
		return "rare"
	}
	return []string{"a.1", "a.2", "b.1", "b.2"}[i*7%4]
}

func TestASubscriberIsWokenOnceAndOnlyForItsTopics(t *testing.T) {
	log := eventlogtest.NewMemory()
	h := start(t, log, hub.Config{})
	wakes := make(chan struct{}, 100)
	s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, "news", "news"), Wake: func() { wakes <- struct{}{} }})
	must(t, err)
	defer s.Close()
	<-wakes // of Subscribe
	if got := drain(t, s); len(got) != 0 {
		t.Fatalf("a new subscriber was handed %v", got)
	}
	synced := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">")})
	defer synced.Close()
	for range 3 {
		log.Publish(t, "other", "")
	}
	synced.readN(3)
	if len(wakes) != 0 {
		t.Error("woken for another topic")
	}
	if got := drain(t, s); len(got) != 0 || s.Cursor().Seq() != 3 {
		t.Errorf("handed %v, cursor %v; want none, and the cursor past what did not match", got, s.Cursor())
	}
	log.Publish(t, "news", "4")
	<-wakes
	log.Publish(t, "news", "5")
	synced.readN(2)
	if len(wakes) != 0 {
		t.Error("woken again before it read")
	}
	if got := drain(t, s); strings.Join(got, " ") != "4 5" || s.Cursor().Seq() != 5 {
		t.Errorf("handed %v, cursor %v", got, s.Cursor())
	}
}

// A client that another node served must not get the same events again from a node that is behind.
func TestAReaderAheadOfThisNodesTail(t *testing.T) {
	log := &stalledLog{Memory: eventlogtest.NewMemory()}
	h := start(t, log, hub.Config{})
	log.Publish(t, "a", "1")
	log.Publish(t, "a", "2") // in the log, but not in this hub
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-2"})
	defer r.Close()
	if got, err := r.Next(nil); len(got) != 0 || err != nil {
		t.Errorf("handed %v, %v", got, err)
	}
	log.release()
	log.Publish(t, "a", "3")
	if got := r.readN(1); got[0].Event.Data() != "3" {
		t.Errorf("handed %s", got[0].Event.Data())
	}
}

// A subscriber that never reads delays nobody, and the window stays within its bound.
func TestASubscriberThatNeverReadsHoldsUpNobody(t *testing.T) {
	log := eventlogtest.NewMemory()
	h := start(t, log, hub.Config{WindowBytes: 50_000})
	stuck := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">")})
	defer stuck.Close()
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">")})
	defer r.Close()
	payload := strings.Repeat("x", 1000)
	for range 500 {
		log.Publish(t, "a", payload)
	}
	r.readN(500)
	if _, err := stuck.Next(nil); !errors.Is(err, hub.ErrBehind) {
		t.Errorf("error %v, want ErrBehind", err)
	}
	if got := stuck.readN(500); got[0].Event.ID().Seq() != 1 || got[499].Event.ID().Seq() != 500 {
		t.Errorf("from %v to %v", got[0].Event.ID(), got[499].Event.ID())
	}
}

func TestReplaysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := eventlogtest.NewMemory()
		for i := range 3000 {
			log.Publish(t, "a", strconv.Itoa(i+1))
		}
		h := start(t, log, hub.Config{WindowBytes: 10_000, Replays: 3})
		open := make(chan struct{})
		var reads atomic.Int32
		log.OnRead = func() { reads.Add(1); <-open }
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				s, err := h.Subscribe(ctx, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-1", Wake: func() {}})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				_, _ = s.Replay(ctx)
			})
		}
		synctest.Wait()
		if n := reads.Load(); n != 3 {
			t.Errorf("%d read the log at once, want 3", n)
		}
		cancel() // ends the waiting replays
		close(open)
		wg.Wait()
		if n := h.Stats().Subscribers; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

func TestStats(t *testing.T) {
	log := eventlogtest.NewMemory()
	log.Publish(t, "a", "before the hub")
	h := start(t, log, hub.Config{})
	before := h.Stats()
	if _, ok := before.Latency.Percentile(50); ok || before.Published != 0 {
		t.Errorf("before anything: %+v", before)
	}
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">")})
	publish := func(took time.Duration) hub.Stats {
		for range 4 {
			log.Publish(t, "a", "x")
		}
		for _, e := range r.readN(4) {
			r.Delivered([]*hub.Entry{e}, e.Event.Time().Add(took))
		}
		return h.Stats()
	}
	percentilesAre := func(l latency.Snapshot, want time.Duration) {
		t.Helper()
		for _, p := range []uint64{50, 99} {
			if got, ok := l.Percentile(p); !ok || got < want*7/8 || got > want*9/8 {
				t.Errorf("percentile %d is %v, %v; want about %v", p, got, ok, want)
			}
		}
	}
	first := publish(5 * time.Millisecond)
	percentilesAre(first.Latency.Since(before.Latency), 5*time.Millisecond)

	late := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), Since: event.Since{All: true}})
	late.Delivered(late.readN(1)[:1], time.Now().Add(time.Hour)) // no latency: the event is older than the subscription
	late.Close()
	s := h.Stats()
	if s.Subscribers != 1 || s.Published != 4 || s.Delivered != 5 || s.Latency != first.Latency {
		t.Errorf("stats %+v", s)
	}
	if _, ok := s.Latency.Since(first.Latency).Percentile(99); ok {
		t.Error("a percentile without deliveries")
	}

	second := publish(time.Second)
	percentilesAre(second.Latency.Since(first.Latency), time.Second)
	percentilesAre(first.Latency.Since(before.Latency), 5*time.Millisecond)
	if p50, _ := second.Latency.Percentile(50); p50 > 6*time.Millisecond || second.Latency != h.Stats().Latency {
		t.Errorf("the median of all is %v; each snapshot must have all deliveries since the start", p50)
	}
	r.Close()
	if n := h.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}

func TestTheHubEndsWithTheError(t *testing.T) {
	broken := errors.New("broken")
	log := &brokenLog{eventlogtest.NewMemory(), broken}
	h, err := hub.New(t.Context(), log, hub.Config{})
	must(t, err)
	if err := h.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run returned %v", err)
	}
}

type brokenLog struct {
	*eventlogtest.Memory
	err error
}

func (l *brokenLog) Tail(context.Context, uint64, func(), func(event.Event) error) error {
	return l.err
}

// All subscribers of a format share one encoding. Lines are encoded only while somebody reads lines.
func TestEncodingsAreShared(t *testing.T) {
	log := eventlogtest.NewMemory()
	h := start(t, log, hub.Config{})
	open := func(format event.Format) (*hub.Subscriber, chan struct{}) {
		ready := make(chan struct{}, 8)
		s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), Format: format, Wake: func() { ready <- struct{}{} }})
		must(t, err)
		<-ready
		_, err = s.Next(nil)
		must(t, err)
		return s, ready
	}
	next := func(s *hub.Subscriber, ready chan struct{}) *hub.Entry {
		<-ready
		entries, err := s.Next(nil)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		return entries[0]
	}
	same := func(a, b event.Encoded) bool { return &a.Bytes[0] == &b.Bytes[0] && &a.Chunk[0] == &b.Chunk[0] }
	frames, framesReady := open(event.Frames)
	defer frames.Close()
	log.Publish(t, "a", "one")
	e := next(frames, framesReady)
	if !same(e.Encoded(event.Frames), e.Encoded(event.Frames)) {
		t.Error("a frame is encoded twice")
	}
	if same(e.Encoded(event.Lines), e.Encoded(event.Lines)) {
		t.Error("a line is kept, but nobody reads lines")
	}
	lines, linesReady := open(event.Lines)
	log.Publish(t, "a", "two")
	a, b := next(frames, framesReady), next(lines, linesReady)
	if a != b || !same(a.Encoded(event.Lines), b.Encoded(event.Lines)) || !same(a.Encoded(event.Frames), b.Encoded(event.Frames)) {
		t.Error("two subscribers do not share the encodings")
	}
	if chunk := string(b.Encoded(event.Lines).Chunk); !strings.HasSuffix(chunk, "\"data\":\"two\"}\n\r\n") || !strings.Contains(chunk, string(b.Encoded(event.Lines).Bytes)) {
		t.Errorf("the line's chunk is %q", chunk)
	}
	lines.Close()
	log.Publish(t, "a", "three")
	if e := next(frames, framesReady); same(e.Encoded(event.Lines), e.Encoded(event.Lines)) {
		t.Error("a line is kept after the last reader of lines has gone")
	}
}

// A replay may wait for its place on behalf of a client that has left meanwhile.
func TestAClosedSubscriberReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := eventlogtest.NewMemory()
		for range 3 {
			log.Publish(t, "a", "x")
		}
		h := start(t, log, hub.Config{Replays: 1})
		open := make(chan struct{})
		var reads atomic.Int32
		log.OnRead = func() { reads.Add(1); <-open }
		var replays sync.WaitGroup
		var subscribers []*hub.Subscriber
		for range 3 {
			s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), LastEventID: "10-1", Wake: func() {}})
			must(t, err)
			subscribers = append(subscribers, s)
			replays.Go(func() { _, _ = s.Replay(t.Context()) })
		}
		synctest.Wait()
		for _, s := range subscribers {
			s.Close()
		}
		close(open)
		replays.Wait()
		if n := reads.Load(); n != 1 {
			t.Errorf("%d read the log, want the one that had begun", n)
		}
	})
}
