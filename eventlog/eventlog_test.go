package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestAppendedEventsAreReadBackAfterAReopen(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	first := appendOne(t, l, "news", "hello\r\nworld", "")
	second := l.Append(t.Context(), eventlog.Entry{Event: newEvent(t, "orders.new", "created", "{}")})
	if first.Seq() != 1 || second.ID.Seq() != 2 || first.Epoch() != l.Epoch() {
		t.Fatalf("IDs %v and %v in epoch %v", first, second.ID, l.Epoch())
	}
	must(t, l.Close())

	l = open(t, eventlog.Config{Dir: dir})
	want := []string{first.String() + " news news hello\r\nworld", second.ID.String() + " orders.new created {}"}
	if diff := cmp.Diff(want, read(t, l, 0, ">")); diff != "" {
		t.Error(diff)
	}
	state, err := l.State(t.Context())
	if err != nil || state.First != 1 || state.Last != 2 || state.Events != 2 || state.Bytes == 0 {
		t.Errorf("state %+v, %v", state, err)
	}
	if age := time.Since(first0(t, l).Time()); age < 0 || age > time.Minute {
		t.Errorf("the event is %v old", age)
	}
}

func first0(t *testing.T, l *eventlog.Log) (first event.Event) {
	t.Helper()
	_, err := l.Read(t.Context(), 0, patterns(t, ">"), 1, func(e event.Event) error { first = e; return nil })
	must(t, err)
	return first
}

func TestAnIdempotencyKeyMakesARepeatHarmless(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	entry := eventlog.Entry{Event: newEvent(t, "news", "news", "a"), Key: "k 1"}
	first := l.Append(t.Context(), entry)
	other := l.Append(t.Context(), eventlog.Entry{Event: newEvent(t, "sport", "sport", "a"), Key: "k 1"})
	must(t, l.Close())
	l = open(t, eventlog.Config{Dir: dir}) // the key is known after a restart too
	again := l.Append(t.Context(), entry)
	if first.Err != nil || first.Repeat || !again.Repeat || again.ID != first.ID {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if other.Err != nil || other.Repeat {
		t.Errorf("the key of another topic: %+v", other)
	}
	if n := len(read(t, l, 0, ">")); n != 2 {
		t.Errorf("%d events are stored, want 2", n)
	}
}

func TestAppendAllAnswersEachInOrder(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	var entries []eventlog.Entry
	for i := range 2500 { // two whole batches and a part
		entries = append(entries, eventlog.Entry{Event: newEvent(t, "n."+strconv.Itoa(i%7), "n", strconv.Itoa(i)), Key: strconv.Itoa(i)})
	}
	ids := appendAll(t, l, entries)
	for i, id := range ids {
		if id.Seq() != uint64(i+1) {
			t.Fatalf("event %d has ID %v", i, id)
		}
	}
	got := read(t, l, 0, ">")
	if len(got) != len(entries) || !strings.HasSuffix(got[2499], " 2499") {
		t.Fatalf("%d events are stored, the last %q", len(got), got[len(got)-1])
	}

	// A repeat among new ones: the batch is refused as a whole, each is answered for itself.
	mixed := []eventlog.Entry{entries[3], {Event: newEvent(t, "n.0", "n", "new")}, entries[2400]}
	receipts := l.AppendAll(t.Context(), mixed)
	if !receipts[0].Repeat || receipts[0].ID != ids[3] || receipts[1].Repeat || receipts[1].ID.Seq() != 2501 || receipts[2].ID != ids[2400] {
		t.Errorf("receipts %+v", receipts)
	}
}

func TestOneTooLargeEventDoesNotTakeItsBatchWithIt(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir(), MaxEvent: 1000})
	large := newEvent(t, "n", "n", strings.Repeat("x", 200_000))
	receipts := l.AppendAll(t.Context(), []eventlog.Entry{{Event: newEvent(t, "n", "n", "1")}, {Event: large}, {Event: newEvent(t, "n", "n", "2")}})
	if receipts[0].Err != nil || !errors.Is(receipts[1].Err, eventlog.ErrTooLarge) || receipts[2].Err != nil {
		t.Errorf("receipts %+v", receipts)
	}
	if got := read(t, l, 0, ">"); len(got) != 2 {
		t.Errorf("stored %q", got)
	}
}

func TestReadSelectsTopicsAndStops(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for i, topic := range []string{"a.x", "b.x", "a.y", "c", "a.x", "b.y"} {
		appendOne(t, l, topic, strconv.Itoa(i+1), "")
	}
	for _, c := range []struct {
		after    uint64
		patterns []string
		limit    int
		want     string
		upto     uint64
	}{
		{0, []string{">"}, 100, "1 2 3 4 5 6", 6},
		{2, []string{">"}, 2, "3 4", 4},
		{0, []string{"a.*"}, 100, "1 3 5", 6},
		{0, []string{"a.*"}, 2, "1 3", 3},
		{3, []string{"a.*", "a.x", "c"}, 100, "4 5", 6},
		{0, []string{"a.*", "*.x"}, 100, "1 2 3 5", 6}, // crossing patterns
		{0, []string{"none"}, 100, "", 6},
		{6, []string{">"}, 100, "", 6},
		{9, []string{">"}, 100, "", 9}, // beyond the end
	} {
		var got []string
		upto, err := l.Read(t.Context(), c.after, patterns(t, c.patterns...), c.limit, func(e event.Event) error {
			got = append(got, e.Data())
			return nil
		})
		if err != nil || strings.Join(got, " ") != c.want || upto != c.upto {
			t.Errorf("Read(%d, %v, %d) = %v upto %d, %v; want %s upto %d", c.after, c.patterns, c.limit, got, upto, err, c.want, c.upto)
		}
	}
	var last []string
	upto, err := l.ReadLast(t.Context(), 0, patterns(t, "a.*", "c"), 100, func(e event.Event) error {
		last = append(last, e.Data())
		return nil
	})
	if err != nil || strings.Join(last, " ") != "3 4 5" || upto != 6 {
		t.Errorf("ReadLast = %v upto %d, %v", last, upto, err)
	}
	stop := errors.New("stop")
	if _, err := l.Read(t.Context(), 0, patterns(t, ">"), 9, func(event.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Read returned %v, want what fn returned", err)
	}
}

func TestSeek(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for i := range 50 {
		appendOne(t, l, []string{"a", "b", "b"}[i%3], "", "")
	}
	var tenth time.Time
	_, err := l.Read(t.Context(), 9, patterns(t, ">"), 1, func(e event.Event) error { tenth = e.Time(); return nil })
	must(t, err)
	for _, c := range []struct {
		since    event.Since
		patterns string
		want     uint64
	}{
		{event.Since{}, ">", 50},
		{event.Since{All: true}, ">", 0},
		{event.Since{Newest: 5}, ">", 45},
		{event.Since{Newest: 50}, ">", 0},
		{event.Since{Newest: 500}, ">", 0},
		{event.Since{Newest: 2}, "a", 45}, // 49 and 46
		{event.Since{Newest: 3}, "none", 0},
		{event.Since{Time: tenth}, ">", 9},
		{event.Since{Time: tenth}, "a", 9},
		{event.Since{Time: tenth.Add(time.Hour)}, ">", 50},
	} {
		after, err := l.Seek(t.Context(), c.since, patterns(t, c.patterns))
		if err != nil {
			t.Fatal(err)
		}
		// Any cursor between two matches is the same place.
		if got, want := read(t, l, after, c.patterns), read(t, l, c.want, c.patterns); !slices.Equal(got, want) {
			t.Errorf("Seek(%+v, %s) = %d, want the place of %d", c.since, c.patterns, after, c.want)
		}
	}
}

func TestTailFollowsInOrderWhilePublishersRace(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir(), SyncInterval: time.Minute})
	appendOne(t, l, "before", "", "")
	ctx, cancel := context.WithCancel(t.Context())
	const publishers, each = 4, 50
	seen := make(chan uint64, publishers*each)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := l.Tail(ctx, 1, func(e event.Event) error { seen <- e.ID().Seq(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Tail ended with %v", err)
		}
	})
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if r := l.Append(t.Context(), eventlog.Entry{Event: newEvent(t, fmt.Sprintf("p.%d", p), "x", strconv.Itoa(i))}); r.Err != nil {
					t.Error(r.Err)
				}
			}
		})
	}
	for want := uint64(2); want < 2+publishers*each; want++ {
		if got := <-seen; got != want {
			t.Fatalf("the tail has %d, want %d", got, want)
		}
	}
	cancel()
	wg.Wait()
}

func TestRetention(t *testing.T) {
	l := open(t, eventlog.Config{Dir: t.TempDir(), RetainPerTopic: 2, SyncInterval: time.Minute})
	for i := range 5 {
		appendOne(t, l, "a", strconv.Itoa(i), "")
		appendOne(t, l, "b", strconv.Itoa(i), "")
	}
	if got := read(t, l, 0, "a"); len(got) != 2 || !strings.HasSuffix(got[0], " 3") {
		t.Errorf("kept of topic a: %q", got)
	}
	l = open(t, eventlog.Config{Dir: t.TempDir(), RetainBytes: 100_000, SyncInterval: time.Minute})
	for range 50 {
		appendOne(t, l, "a", strings.Repeat("x", 10_000), "")
	}
	state, err := l.State(t.Context())
	if err != nil || state.First < 40 || state.Last != 50 || state.Bytes > 100_000 {
		t.Errorf("state %+v, %v", state, err)
	}
}

func TestAHeldOrReadOnlyDataFolderIsAClearError(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	if _, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir}); !errors.Is(err, eventlog.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Open: %v", err)
	}
	must(t, l.Close())
	open(t, eventlog.Config{Dir: dir}) // free again

	// Root may write anywhere but below what is no folder.
	if _, err := eventlog.Open(t.Context(), eventlog.Config{Dir: "/dev/null/data"}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open below a file: %v", err)
	}
}

func TestTwoNodesShareAnExternalCluster(t *testing.T) {
	url := externalNATS(t)
	a := open(t, eventlog.Config{NATS: url})
	b := open(t, eventlog.Config{NATS: url, RetainAge: time.Hour})
	if a.Epoch() != b.Epoch() {
		t.Fatalf("epochs %d and %d", a.Epoch(), b.Epoch())
	}
	id := appendOne(t, a, "news", "from a", "")
	if got := read(t, b, 0, "news"); len(got) != 1 || got[0] != id.String()+" news news from a" {
		t.Errorf("b reads %q", got)
	}

	// Any NATS client is a publisher; what is no event is passed over.
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	for _, m := range []*nats.Msg{
		{Subject: "event.news", Data: []byte("\xff")},
		{Subject: "event.news", Data: []byte("x"), Header: nats.Header{"Event-Type": {"gap"}}},
		{Subject: "event.counter", Data: []byte("x")},
		{Subject: "event.news", Data: []byte("plain"), Header: nats.Header{"Event-Type": {"note"}}},
	} {
		_, err := nc.RequestMsg(m, 5*time.Second)
		must(t, err)
	}
	got := read(t, a, id.Seq(), ">")
	if len(got) != 1 || !strings.HasSuffix(got[0], " news note plain") {
		t.Errorf("a reads %q", got)
	}
}

func TestAnUnreachableNATSIsAClearError(t *testing.T) {
	_, err := eventlog.Open(t.Context(), eventlog.Config{NATS: "nats://127.0.0.1:1"})
	if !errors.Is(err, eventlog.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v", err)
	}
}

func TestReadersLeaveNoConsumersBehind(t *testing.T) {
	url := externalNATS(t)
	l := open(t, eventlog.Config{NATS: url})
	appendOne(t, l, "a", "", "")
	for range 20 {
		read(t, l, 0, "a")
		_, err := l.Seek(t.Context(), event.Since{Newest: 1}, patterns(t, "a"))
		must(t, err)
	}
	nc, err := nats.Connect(url)
	must(t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	must(t, err)
	info, err := js.StreamInfo("freshet")
	if err != nil || info.State.Consumers != 0 {
		t.Errorf("consumers left: %d, %v", info.State.Consumers, err)
	}
}

func externalNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	return s.ClientURL()
}

func open(t *testing.T, cfg eventlog.Config) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

func newEvent(t *testing.T, topicName, typeName, data string) event.Event {
	t.Helper()
	topic, err := event.ParseTopic(topicName)
	must(t, err)
	typ, err := event.ParseType(typeName)
	must(t, err)
	e, err := event.New(topic, typ, data)
	must(t, err)
	return e
}

func appendOne(t *testing.T, l *eventlog.Log, topic, data, key string) event.ID {
	t.Helper()
	r := l.Append(t.Context(), eventlog.Entry{Event: newEvent(t, topic, topic, data), Key: key})
	must(t, r.Err)
	return r.ID
}

func appendAll(t *testing.T, l *eventlog.Log, entries []eventlog.Entry) []event.ID {
	t.Helper()
	var ids []event.ID
	for _, r := range l.AppendAll(t.Context(), entries) {
		must(t, r.Err)
		ids = append(ids, r.ID)
	}
	return ids
}

func read(t *testing.T, l *eventlog.Log, after uint64, pattern string) []string {
	t.Helper()
	var got []string
	_, err := l.Read(t.Context(), after, patterns(t, pattern), 1<<30, func(e event.Event) error {
		got = append(got, fmt.Sprintf("%v %v %v %v", e.ID(), e.Topic(), e.Type(), e.Data()))
		return nil
	})
	must(t, err)
	return got
}

func patterns(t *testing.T, texts ...string) (ps event.Patterns) {
	t.Helper()
	for _, text := range texts {
		p, err := event.ParsePattern(text)
		must(t, err)
		ps = append(ps, p)
	}
	return ps
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
