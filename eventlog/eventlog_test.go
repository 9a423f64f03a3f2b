package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestTheRulesOfALog(t *testing.T) {
	t.Parallel()
	t.Run("on disk", func(t *testing.T) {
		eventlogtest.TestLog(t, func(t *testing.T) eventlogtest.Log { return open(t, eventlog.Config{Dir: t.TempDir()}) })
	})
	t.Run("in memory", func(t *testing.T) {
		eventlogtest.TestLog(t, func(*testing.T) eventlogtest.Log { return eventlogtest.NewMemory() })
	})
}

func TestAppendedEventsAreReadBackAfterAReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	first := appendOne(t, l, "news", "hello\r\nworld", "")
	second := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "orders.new", "created", "{}")})
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
	if age := time.Since(firstEvent(t, l).Time()); age < 0 || age > time.Minute {
		t.Errorf("the event is %v old", age)
	}
}

func firstEvent(t *testing.T, l *eventlog.Log) (first event.Event) {
	t.Helper()
	_, err := l.Read(t.Context(), 0, eventlogtest.Patterns(t, ">"), 1, func(e event.Event) error { first = e; return nil })
	must(t, err)
	return first
}

func TestAnIdempotencyKeyMakesARepeatHarmless(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	entry := eventlog.Entry{Event: eventlogtest.NewEvent(t, "news", "news", "a"), Key: "k 1"}
	first := l.Append(t.Context(), entry)
	other := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "sport", "sport", "a"), Key: "k 1"})
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

func TestOneTooLargeEventDoesNotTakeItsBatchWithIt(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), MaxEvent: 1000})
	large := eventlogtest.NewEvent(t, "n", "n", strings.Repeat("x", 200_000))
	receipts := l.AppendAll(t.Context(), []eventlog.Entry{{Event: eventlogtest.NewEvent(t, "n", "n", "1")}, {Event: large}, {Event: eventlogtest.NewEvent(t, "n", "n", "2")}})
	if receipts[0].Err != nil || !errors.Is(receipts[1].Err, eventlog.ErrTooLarge) || receipts[2].Err != nil {
		t.Errorf("receipts %+v", receipts)
	}
	if got := read(t, l, 0, ">"); len(got) != 2 {
		t.Errorf("stored %q", got)
	}
}

// JetStream writes no record larger than 32 MiB, whatever the largest message is.
func TestTheLargestEvent(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir(), MaxEvent: 33 << 20})
	data := strings.Repeat("x", 32<<20)
	if r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, "n", "n", data)}); !errors.Is(r.Err, eventlog.ErrTooLarge) {
		t.Errorf("32 MiB: %v", r.Err)
	}
	appendOne(t, l, "n", data[:31<<20], "")
	if got := read(t, l, 0, "n"); len(got) != 1 || len(got[0]) < 31<<20 {
		t.Errorf("%d events are read", len(got))
	}
}

// Events stored under a larger limit can still be read.
func TestALimitThatWasLowered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir, MaxEvent: 3 << 20})
	appendOne(t, l, "a", strings.Repeat("x", 2<<20), "")
	must(t, l.Close())
	l = open(t, eventlog.Config{Dir: dir, MaxEvent: 1000})
	if got := read(t, l, 0, "a"); len(got) != 1 || len(got[0]) < 2<<20 {
		t.Errorf("%d events are read", len(got))
	}
}

// In a cluster a server that lags may answer; still no event is skipped.
func TestEveryServerOfAClusterGivesAll(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{NATS: clusterNATS(t), Replicas: 3})
	var noise sync.WaitGroup
	quiet := make(chan struct{})
	for range 2 {
		noise.Go(func() {
			for {
				select {
				case <-quiet:
					return
				default:
					appendOne(t, l, "noise", "", "")
				}
			}
		})
	}
	for i := range 100 {
		topic := "t" + strconv.Itoa(i)
		id := appendOne(t, l, topic, "x", "")
		found := false
		for upto := id.Seq() - 1; upto < id.Seq(); {
			var err error
			upto, err = l.Read(t.Context(), upto, eventlogtest.Patterns(t, topic), 10, func(e event.Event) error {
				found = found || e.ID() == id
				return nil
			})
			must(t, err)
		}
		if !found {
			t.Errorf("the read skipped %v", id)
		}
	}
	close(quiet)
	noise.Wait()
}

func TestRetention(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	if _, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir}); !errors.Is(err, eventlog.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Open: %v", err)
	}
	must(t, l.Close())
	open(t, eventlog.Config{Dir: dir}) // free again

	// Even root cannot create a folder below a file.
	if _, err := eventlog.Open(t.Context(), eventlog.Config{Dir: "/dev/null/data"}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open below a file: %v", err)
	}
}

func TestTwoNodesShareAnExternalCluster(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	a := open(t, eventlog.Config{NATS: url})
	b := open(t, eventlog.Config{NATS: url})
	if a.Epoch() != b.Epoch() {
		t.Fatalf("epochs %d and %d", a.Epoch(), b.Epoch())
	}
	id := appendOne(t, a, "news", "from a", "")
	if got := read(t, b, 0, "news"); len(got) != 1 || got[0] != id.String()+" news news from a" {
		t.Errorf("b reads %q", got)
	}

	// Any NATS client can publish; messages that are not valid events are skipped.
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

// A node survives a restart of its NATS: meanwhile appends fail at once, and the tail continues
// where it stopped.
func TestARestartOfTheExternalNATS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := quietPort(t)
	nats := startNATS(t, dir, port)
	l := open(t, eventlog.Config{NATS: nats.ClientURL()})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := make(chan string, 10)
	done := make(chan error, 1)
	go func() {
		done <- l.Tail(ctx, 0, func() {}, func(e event.Event) error { seen <- e.Data(); return nil })
	}()
	appendOne(t, l, "a", "1", "")
	if got := first(t, seen, done); got != "1" {
		t.Errorf("the tail has %s", got)
	}
	nats.Shutdown()
	nats.WaitForShutdown()
	if err := ready(t, l); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("ready without NATS: %v", err)
	}
	if r := l.Append(ctx, eventlog.Entry{Event: eventlogtest.NewEvent(t, "a", "a", "lost")}); !errors.Is(r.Err, eventlog.ErrUnavailable) {
		t.Errorf("an append without NATS: %+v", r)
	}
	startNATS(t, dir, port)
	for ready(t, l) != nil {
		if ctx.Err() != nil {
			t.Fatal("the log does not come back")
		}
	}
	appendOne(t, l, "a", "2", "")
	if got := first(t, seen, done); got != "2" {
		t.Errorf("the tail has %s", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the tail ended with %v", err)
	}
}

// ready is [eventlog.Log.Ready] with a short deadline: a request that is in flight when the
// connection breaks or comes back gets no answer.
func ready(t *testing.T, l *eventlog.Log) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	return l.Ready(ctx)
}

func TestAnUnreachableNATSIsAClearError(t *testing.T) {
	t.Parallel()
	_, err := eventlog.Open(t.Context(), eventlog.Config{NATS: "nats://user:secret@127.0.0.1:1,secret@127.0.0.1:2"})
	if !errors.Is(err, eventlog.ErrUnavailable) || err.Error() != "no NATS server can be reached at nats://127.0.0.1:1,127.0.0.1:2" {
		t.Errorf("error %v", err)
	}
}

func TestANATSWithoutClusterKeepsOneCopy(t *testing.T) {
	t.Parallel()
	_, err := eventlog.Open(t.Context(), eventlog.Config{NATS: externalNATS(t), Replicas: 3})
	if err == nil || errors.Is(err, eventlog.ErrUnavailable) || err.Error() != `open the stream "freshet": NATS says: replicas > 1 not supported in non-clustered mode` {
		t.Errorf("error %v", err)
	}
}

func TestReadersLeaveNoConsumersBehind(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	l := open(t, eventlog.Config{NATS: url})
	appendOne(t, l, "a", "", "")
	for range 20 {
		read(t, l, 0, "a")
		_, err := l.Seek(t.Context(), event.Since{Newest: 1}, eventlogtest.Patterns(t, "a"))
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

// first returns the first value, or fails the test if the sender ends before.
func first[T any](t *testing.T, from <-chan T, ended <-chan error) (x T) {
	t.Helper()
	select {
	case x = <-from:
	case err := <-ended:
		t.Fatalf("the sender ended with %v", err)
	}
	return x
}

func open(t *testing.T, cfg eventlog.Config) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

func appendOne(t *testing.T, l *eventlog.Log, topic, data, key string) event.ID {
	t.Helper()
	r := l.Append(t.Context(), eventlog.Entry{Event: eventlogtest.NewEvent(t, topic, topic, data), Key: key})
	must(t, r.Err)
	return r.ID
}

func read(t *testing.T, l *eventlog.Log, after uint64, pattern string) []string {
	t.Helper()
	var got []string
	readAll(t, l, after, pattern, func(e event.Event) {
		got = append(got, fmt.Sprintf("%v %v %v %v", e.ID(), e.Topic(), e.Type(), e.Data()))
	})
	return got
}

// readAll reads up to the log's present end: in a cluster, one piece may end before it.
func readAll(t *testing.T, l *eventlog.Log, after uint64, pattern string, fn func(event.Event)) {
	t.Helper()
	state, err := l.State(t.Context())
	must(t, err)
	for after < state.Last {
		after, err = l.Read(t.Context(), after, eventlogtest.Patterns(t, pattern), 1<<30, func(e event.Event) error { fn(e); return nil })
		must(t, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
