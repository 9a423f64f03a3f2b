package eventlogtest

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
)

// Log is a log that follows the rules: [eventlog.Log] or [Memory].
type Log interface {
	Append(ctx context.Context, entry eventlog.Entry) eventlog.Receipt
	AppendAll(ctx context.Context, entries []eventlog.Entry) []eventlog.Receipt
	End(ctx context.Context, topic event.Topic, key string, ttl event.TTL, last ...eventlog.Entry) eventlog.Receipt
	LinesOf(ctx context.Context, topic event.Topic, key string) (eventlog.Lines, error)
	Ended(ctx context.Context, topic event.Topic) (seq uint64, err error)
	Purge(ctx context.Context, topic event.Topic) (id event.ID, deleted uint64, err error)
	State(ctx context.Context) (eventlog.State, error)
	Bounds(ctx context.Context) (first, last uint64, err error)
	Recent(ctx context.Context, size int64) (after uint64, err error)
	Seek(ctx context.Context, since event.Since, patterns event.Patterns) (after uint64, err error)
	Tail(ctx context.Context, after uint64, caughtUp func(), fn func(event.Event) error) error
	Read(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error)
	ReadLast(ctx context.Context, after uint64, patterns event.Patterns, limit int, fn func(event.Event) error) (upto uint64, err error)
}

// TestLog tests that the empty logs that open returns follow the rules.
func TestLog(t *testing.T, open func(t *testing.T) Log) {
	for name, test := range map[string]func(t *testing.T, l Log){
		"a key makes a retry harmless": testKeys,
		"all are answered in order":    testAppendAll,
		"read selects and stops":       testRead,
		"the newest by pieces":         testReadLast,
		"seek":                         testSeek,
		"recent":                       testRecent,
		"tail follows in order":        testTail,
		"a topic ends":                 testEnd,
		"a topic is purged":            testPurge,
		"lines continue":               testLines,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func testKeys(t *testing.T, l Log) {
	entry := eventlog.Entry{Event: NewEvent(t, "news", "news", "a"), Key: "k 1"}
	first, other, again := l.Append(t.Context(), entry), l.Append(t.Context(), eventlog.Entry{Event: NewEvent(t, "sport", "sport", "a"), Key: "k 1"}), l.Append(t.Context(), entry)
	if first.Err != nil || first.Repeat || !again.Repeat || again.ID != first.ID {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if other.Err != nil || other.Repeat {
		t.Errorf("the key of another topic: %+v", other)
	}
}

func testAppendAll(t *testing.T, l Log) {
	var entries []eventlog.Entry
	for i := range 2500 { // two full batches and a part
		entries = append(entries, eventlog.Entry{Event: NewEvent(t, "n."+strconv.Itoa(i%7), "n", strconv.Itoa(i)), Key: strconv.Itoa(i)})
	}
	first := l.AppendAll(t.Context(), entries)
	for i, r := range first {
		if r.Err != nil || r.ID.Seq() != uint64(i+1) {
			t.Fatalf("event %d: %+v", i, r)
		}
	}
	got := read(t, l, 0, ">")
	if len(got) != len(entries) || !strings.HasSuffix(got[2499], " 2499") {
		t.Fatalf("%d events are stored, the last %q", len(got), got[len(got)-1])
	}

	// A repeat among new events: JetStream refuses the whole batch, yet each event gets its own answer.
	mixed := []eventlog.Entry{entries[3], {Event: NewEvent(t, "n.0", "n", "new")}, entries[2400]}
	receipts := l.AppendAll(t.Context(), mixed)
	if !receipts[0].Repeat || receipts[0].ID != first[3].ID || receipts[1].Repeat || receipts[1].ID.Seq() != 2501 || receipts[2].ID != first[2400].ID {
		t.Errorf("receipts %+v", receipts)
	}
}

func testRead(t *testing.T, l Log) {
	for i, topic := range []string{"a.x", "b.x", "a.y", "c", "a.x", "b.y"} {
		appendOne(t, l, topic, strconv.Itoa(i+1))
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
		upto, err := l.Read(t.Context(), c.after, Patterns(t, c.patterns...), c.limit, func(e event.Event) error {
			got = append(got, e.Data())
			return nil
		})
		if err != nil || strings.Join(got, " ") != c.want || upto != c.upto {
			t.Errorf("Read(%d, %v, %d) = %v upto %d, %v; want %s upto %d", c.after, c.patterns, c.limit, got, upto, err, c.want, c.upto)
		}
	}
	var last []string
	upto, err := l.ReadLast(t.Context(), 0, Patterns(t, "a.*", "c"), 100, func(e event.Event) error {
		last = append(last, e.Data())
		return nil
	})
	if err != nil || strings.Join(last, " ") != "3 4 5" || upto != 6 {
		t.Errorf("ReadLast = %v upto %d, %v", last, upto, err)
	}
	stop := errors.New("stop")
	if _, err := l.Read(t.Context(), 0, Patterns(t, ">"), 9, func(event.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Read returned %v, want what fn returned", err)
	}
}

func testReadLast(t *testing.T, l Log) {
	const topics = 200 // many more than one piece
	var entries []eventlog.Entry
	for i := range 2 * topics {
		entries = append(entries, eventlog.Entry{Event: NewEvent(t, "t."+strconv.Itoa(i%topics), "x", "")})
	}
	for _, r := range l.AppendAll(t.Context(), entries) {
		must(t, r.Err)
	}
	last := uint64(2 * topics)
	readPiece := func(after uint64, limit int) (seqs []uint64, upto uint64) {
		upto, err := l.ReadLast(t.Context(), after, Patterns(t, "t.*"), limit, func(e event.Event) error {
			seqs = append(seqs, e.ID().Seq())
			return nil
		})
		must(t, err)
		return seqs, upto
	}
	var want, got []uint64
	for seq := uint64(topics + 1); seq <= last; seq++ {
		want = append(want, seq)
	}
	for after := uint64(0); after < last; {
		piece, upto := readPiece(after, 2)
		if upto <= after {
			t.Fatalf("a piece ended where it began, at %d", after)
		}
		got, after = append(got, piece...), upto
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d of %d topics were read: %v", len(got), len(want), got)
	}

	// A topic that gets an event between two pieces is not read again with an event that is not its newest.
	_, upto := readPiece(0, topics/2)
	for range 2 {
		appendOne(t, l, "t.0", "")
	}
	got = nil
	for after := upto; after < last+2; {
		var piece []uint64
		piece, after = readPiece(after, 1000)
		got = append(got, piece...)
	}
	if want = append(want[topics/2:], last+2); !slices.Equal(got, want) {
		t.Errorf("after two more events, %v were read", got)
	}
}

func testSeek(t *testing.T, l Log) {
	for i := range 50 {
		appendOne(t, l, []string{"a", "b", "b"}[i%3], "")
	}
	var tenth time.Time
	_, err := l.Read(t.Context(), 9, Patterns(t, ">"), 1, func(e event.Event) error { tenth = e.Time(); return nil })
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
		after, err := l.Seek(t.Context(), c.since, Patterns(t, c.patterns))
		if err != nil {
			t.Fatal(err)
		}
		// All cursors between two matches are equivalent.
		if got, want := read(t, l, after, c.patterns), read(t, l, c.want, c.patterns); !slices.Equal(got, want) {
			t.Errorf("Seek(%+v, %s) = %d, want one equivalent to %d", c.since, c.patterns, after, c.want)
		}
	}
}

func testTail(t *testing.T, l Log) {
	appendOne(t, l, "before", "")
	ctx, cancel := context.WithCancel(t.Context())
	const publishers, each = 4, 50
	seen := make(chan uint64, publishers*each)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := l.Tail(ctx, 1, func() {}, func(e event.Event) error { seen <- e.ID().Seq(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Tail ended with %v", err)
		}
	})
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if r := l.Append(t.Context(), eventlog.Entry{Event: NewEvent(t, fmt.Sprintf("p.%d", p), "x", strconv.Itoa(i))}); r.Err != nil {
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

func testRecent(t *testing.T, l Log) {
	if after, err := l.Recent(t.Context(), 1000); err != nil || after != 0 {
		t.Errorf("Recent of an empty log = %d, %v", after, err)
	}
	for range 20 {
		appendOne(t, l, "a", strings.Repeat("x", 1000))
	}
	few, err := l.Recent(t.Context(), 3000)
	must(t, err)
	all, err := l.Recent(t.Context(), 1<<30)
	must(t, err)
	if few < 16 || few > 19 || all != 0 {
		t.Errorf("3000 bytes follow %d, all bytes follow %d", few, all)
	}
}

// NewEvent returns an event, or fails the test.
func NewEvent(t testing.TB, topicName, typeName, data string) event.Event {
	t.Helper()
	topic, err := event.ParseTopic(topicName)
	must(t, err)
	typ, err := event.ParseType(typeName)
	must(t, err)
	e, err := event.New(topic, typ, data)
	must(t, err)
	return e
}

func read(t testing.TB, l Log, after uint64, pattern string) []string {
	t.Helper()
	var got []string
	_, err := l.Read(t.Context(), after, Patterns(t, pattern), 1<<30, func(e event.Event) error {
		got = append(got, fmt.Sprintf("%v %v %v %v", e.ID(), e.Topic(), e.Type(), e.Data()))
		return nil
	})
	must(t, err)
	return got
}

// Patterns returns patterns, or fails the test.
func Patterns(t testing.TB, texts ...string) (ps event.Patterns) {
	t.Helper()
	for _, text := range texts {
		p, err := event.ParsePattern(text)
		must(t, err)
		ps = append(ps, p)
	}
	return ps
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func appendOne(t testing.TB, l Log, topic, data string) {
	t.Helper()
	must(t, l.Append(t.Context(), eventlog.Entry{Event: NewEvent(t, topic, topic, data)}).Err)
}
