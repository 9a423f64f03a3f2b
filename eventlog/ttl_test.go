package eventlog_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func ttl(t *testing.T, text string) event.TTL {
	t.Helper()
	if text == "0" {
		return event.TTL{}
	}
	ttl, err := event.ParseTTL(text)
	must(t, err)
	return ttl
}

func withTTL(t *testing.T, topic, text string) eventlog.Entry {
	t.Helper()
	return eventlog.Entry{Event: eventlogtest.NewEvent(t, topic, topic, "x").WithTTL(ttl(t, text))}
}

// awaitDeleted waits until the log has so many messages.
func awaitDeleted(t *testing.T, l *eventlog.Log, left uint64) {
	t.Helper()
	must(t, apptest.Until(t.Context(), func() bool {
		s, err := l.State(t.Context())
		must(t, err)
		return s.Events <= left
	}))
}

// Events expire one by one, also at the log's end, and from batches. That is no loss: the log keeps its epoch and its end.
func TestEventsExpire(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir})
	epoch := l.Epoch()
	entries := []eventlog.Entry{withTTL(t, "short", "1s"), withTTL(t, "long", "1h"), withTTL(t, "short", "1s"), withTTL(t, "news", "0"), withTTL(t, "short", "1s")}
	for _, r := range l.AppendAll(t.Context(), entries) {
		must(t, r.Err)
	}
	must(t, l.Append(t.Context(), entries[0]).Err)
	must(t, l.Close())
	l = open(t, eventlog.Config{Dir: dir}) // before they have expired: the holes come later
	awaitDeleted(t, l, 2)
	for range 2 {
		if got := withoutEpoch(read(t, l, 0, ">")); !slices.Equal(got, []string{"2 long long x", "4 news news x"}) || l.Epoch() != epoch {
			t.Errorf("epoch %d, then %d, with %q", epoch, l.Epoch(), got)
		}
		must(t, l.Close())
		l = open(t, eventlog.Config{Dir: dir})
	}
	if id := appendOne(t, l, "news", "next", ""); id != event.NewID(epoch, 7) {
		t.Errorf("the next event is %v", id)
	}
}

// No reader gets an event after its TTL, although JetStream takes longer to delete many events.
func TestNothingIsReadAfterItsTTL(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	receipts := l.AppendAll(t.Context(), slices.Repeat([]eventlog.Entry{withTTL(t, "a", "1s")}, 3000))
	stored := time.Now()
	must(t, receipts[2999].Err)
	must(t, apptest.Until(t.Context(), func() bool { return time.Since(stored) > time.Second }))
	if got := read(t, l, 0, ">"); len(got) != 0 {
		t.Errorf("%d events were read, the first %s", len(got), got[0])
	}
}

// A search by time finds its place also if the log's last event expires meanwhile.
func TestASearchWhileTheLastEventExpires(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for _, text := range []string{"0", "0", "1s"} {
		must(t, l.Append(t.Context(), withTTL(t, "a", text)).Err)
	}
	since := event.Since{Time: time.Now()} // all of them are older
	for left := uint64(3); left > 2; {     // without a pause: the event must expire within a search
		after, err := l.Seek(t.Context(), since, eventlogtest.Patterns(t, ">"))
		if err != nil || after < 2 {
			t.Fatalf("the cursor is %d, %v", after, err)
		}
		s, err := l.State(t.Context())
		must(t, err)
		left = s.Events
	}
}

// The TTL of an event is the shorter one of its own and that of the first pattern that selects its topic.
func TestRetain(t *testing.T) {
	t.Parallel()
	pattern := func(text string) event.Pattern { return eventlogtest.Patterns(t, text)[0] }
	l := open(t, eventlog.Config{Dir: t.TempDir(), Retain: []eventlog.Retention{
		{Pattern: pattern("answers.pinned.>"), TTL: ttl(t, "0")}, {Pattern: pattern("answers.>"), TTL: ttl(t, "1h")}, {Pattern: pattern("*.17"), TTL: ttl(t, "1m")},
	}})
	want := map[string]string{
		"answers.17 0": "1h0m0s", "answers.17 30m": "30m0s", "answers.17 2h": "1h0m0s", "answers.pinned.17 0": "0s", "answers.pinned.17 2h": "2h0m0s",
		"jobs.17 0": "1m0s", "jobs.18 0": "0s", "jobs.18 1s": "1s",
	}
	for key := range want {
		topic, own, _ := strings.Cut(key, " ")
		entry := withTTL(t, topic, own)
		before, err := l.State(t.Context())
		must(t, err)
		for _, receipt := range append(l.AppendAll(t.Context(), []eventlog.Entry{entry, entry}), l.Append(t.Context(), entry)) {
			must(t, receipt.Err)
		}
		var ttls []string
		readAll(t, l, before.Last, topic, func(e event.Event) { ttls = append(ttls, e.TTL().String()) })
		if !slices.Equal(ttls, []string{want[key], want[key], want[key]}) {
			t.Errorf("%s: %q", key, ttls)
		}
	}
	gap, _, err := l.Purge(t.Context(), eventlogtest.NewEvent(t, "answers.17", "x", "x").Topic())
	must(t, err)
	readAll(t, l, gap.Seq()-1, "answers.17", func(e event.Event) {
		if e.Type() != event.TypeGap || e.TTL().String() != "1h0m0s" {
			t.Errorf("the gap of a purge is a %v with %v", e.Type(), e.TTL())
		}
	})
}

// An end expires with the topic's last events, and not before: the topic is then open and empty.
func TestAnEndExpires(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		retain []eventlog.Retention
		own    string
	}{
		"by pattern": {[]eventlog.Retention{{Pattern: event.All, TTL: ttl(t, "1s")}}, "0"},
		"by TTL":     {nil, "1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t, eventlog.Config{Dir: t.TempDir(), Retain: test.retain})
			entry := withTTL(t, "job", test.own)
			must(t, l.Append(t.Context(), entry).Err)
			end := l.End(t.Context(), entry.Event.Topic(), "k", entry.Event.TTL(), entry)
			must(t, end.Err)
			must(t, apptest.Until(t.Context(), func() bool {
				r := l.Append(t.Context(), entry)
				if r.Err != nil && !errors.Is(r.Err, eventlog.ErrEnded) {
					t.Fatal(r.Err)
				}
				return r.Err == nil
			}))
			if got := read(t, l, 0, "job"); len(got) != 1 {
				t.Errorf("the topic is open, and has %q", got)
			}
			if seq, err := l.Ended(t.Context(), entry.Event.Topic()); seq != 0 || err != nil {
				t.Errorf("it has ended at %d, %v", seq, err)
			}
			if again := l.End(t.Context(), entry.Event.Topic(), "k", entry.Event.TTL()); again.Err != nil || again.Repeat || again.ID == end.ID {
				t.Errorf("the second end got %+v", again)
			}
		})
	}
}

// A stream of an external NATS that an earlier version created has no TTLs, until it is updated.
func TestAStreamWithoutTTLs(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	js := jetStream(t, url)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "freshet", Subjects: []string{"event.>"}, MaxAge: 24 * time.Hour, MaxBytes: 1 << 30, AllowAtomicPublish: true,
	})
	must(t, err)
	l := open(t, eventlog.Config{NATS: url})
	backupHasTTLs := func(want bool) { // any NATS client can set one
		t.Helper()
		b, err := l.Backup(t.Context())
		must(t, err)
		if must(t, b.CopyTo(t.Context(), io.Discard)); b.Summary.TTLs != want {
			t.Errorf("the backup is %+v", b.Summary)
		}
	}
	backupHasTTLs(false)
	entry, plain := withTTL(t, "job", "1h"), withTTL(t, "job", "0")
	receipts := append(l.AppendAll(t.Context(), []eventlog.Entry{entry, plain, entry}), l.Append(t.Context(), entry), l.End(t.Context(), entry.Event.Topic(), "", entry.Event.TTL(), entry))
	for i, r := range receipts {
		if want := i != 1; errors.Is(r.Err, eventlog.ErrNoTTL) != want || !want && r.Err != nil {
			t.Errorf("receipt %d: %v", i, r.Err)
		}
	}
	retain := []eventlog.Retention{{Pattern: event.All, TTL: ttl(t, "1h")}}
	_, err = eventlog.Open(t.Context(), eventlog.Config{NATS: url, Retain: retain})
	const says = `the TTL of events is off there and on here; start one node with --update-stream, which changes the stream for all nodes`
	if !errors.Is(err, eventlog.ErrSettings) || !strings.HasSuffix(err.Error(), says) {
		t.Errorf("with Retain: %v", err)
	}
	open(t, eventlog.Config{NATS: url, UpdateStream: true})
	backupHasTTLs(true)
	must(t, l.Append(t.Context(), entry).Err)
	open(t, eventlog.Config{NATS: url, Retain: retain})

	for i, text := range []string{"7200", "never", "90s"} { // as NATS clients write it
		m := nats.NewMsg("event.client")
		m.Header.Set(jetstream.MsgTTLHeader, text)
		_, err := js.PublishMsg(t.Context(), m)
		must(t, err)
		var ttls []string
		readAll(t, l, 0, "client", func(e event.Event) { ttls = append(ttls, e.TTL().String()) })
		if want := []string{"2h0m0s", "0s", "1m30s"}[:i+1]; !slices.Equal(ttls, want) {
			t.Errorf("%q were read as %q", text, ttls)
		}
	}
}

// In a cluster, each server deletes expired events. Nodes on all of them see the same, and the ends of topics expire for all.
func TestEventsExpireInACluster(t *testing.T) {
	t.Parallel()
	cfg := eventlog.Config{NATS: clusterNATS(t), Replicas: 3}
	nodes := []*eventlog.Log{open(t, cfg), open(t, cfg)}
	entry, plain := withTTL(t, "job", "1s"), withTTL(t, "news", "0")
	must(t, apptest.Until(t.Context(), func() bool {
		return nodes[0].Append(t.Context(), eventlog.Entry{Event: plain.Event, Key: "first"}).Err == nil
	}))
	for _, l := range nodes {
		for _, r := range l.AppendAll(t.Context(), []eventlog.Entry{entry, plain, entry}) {
			must(t, r.Err)
		}
	}
	must(t, nodes[0].End(t.Context(), entry.Event.Topic(), "", entry.Event.TTL(), entry).Err)
	for i, l := range nodes {
		must(t, apptest.Until(t.Context(), func() bool {
			r := l.Append(t.Context(), withTTL(t, "job", "1h"))
			if r.Err != nil && !errors.Is(r.Err, eventlog.ErrEnded) {
				t.Fatal(r.Err)
			}
			return r.Err == nil
		}))
		awaitDeleted(t, l, uint64(4+i))
		if got := read(t, l, 0, ">"); len(got) != 4+i {
			t.Errorf("node %d has %q", i, got)
		}
	}
}

// The events of a backup expire in the restored log too, whenever it is restored. That is no loss.
func TestRestoredEventsExpire(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for i := range 20 {
		must(t, l.Append(t.Context(), withTTL(t, fmt.Sprintf("topic%d", i%3), []string{"0", "1s"}[i%2])).Err)
	}
	file := backup(t, l)
	restored := map[string]*eventlog.Log{}
	restoreTo := func(name string) {
		dir := filepath.Join(t.TempDir(), name)
		summary, _, err := restore(t.Context(), eventlog.Config{Dir: dir}, file)
		if must(t, err); !summary.TTLs {
			t.Errorf("the backup is %+v", summary)
		}
		restored[dir] = open(t, eventlog.Config{Dir: dir})
	}
	restoreTo("before")
	awaitDeleted(t, l, 10)
	restoreTo("after")
	for dir, r := range restored {
		epoch := r.Epoch()
		awaitDeleted(t, r, 10)
		must(t, r.Close())
		r = open(t, eventlog.Config{Dir: dir})
		if got := read(t, r, 0, ">"); len(got) != 10 || r.Epoch() != epoch {
			t.Errorf("%s: epoch %d, then %d, with %q", dir, epoch, r.Epoch(), got)
		}
	}
}

// If a batch's last event has expired, nothing shows that the batch was committed. Its other events were acknowledged, and are restored.
func TestABatchWhoseEndHasExpiredIsRestored(t *testing.T) {
	t.Parallel()
	l := open(t, eventlog.Config{Dir: t.TempDir()})
	for _, r := range l.AppendAll(t.Context(), []eventlog.Entry{withTTL(t, "news", "0"), withTTL(t, "news", "1h"), withTTL(t, "short", "1s")}) {
		must(t, r.Err)
	}
	awaitDeleted(t, l, 2)
	dir := filepath.Join(t.TempDir(), "restored")
	summary, state, err := restore(t.Context(), eventlog.Config{Dir: dir}, backup(t, l))
	must(t, err)
	if state.Events != 2 || summary.Events != 2 {
		t.Errorf("restored %d events of %d", state.Events, summary.Events)
	}
}

// A log that moves to NATS keeps the TTLs.
func TestTTLsOfALogThatMoves(t *testing.T) {
	t.Parallel()
	dir, url := t.TempDir(), externalNATS(t)
	l := open(t, eventlog.Config{Dir: dir})
	must(t, l.Append(t.Context(), withTTL(t, "a", "1h")).Err)
	must(t, l.Close())
	_, err := eventlog.Move(t.Context(), eventlog.Config{Dir: dir, NATS: url})
	must(t, err)
	l = open(t, eventlog.Config{NATS: url})
	must(t, l.Append(t.Context(), withTTL(t, "a", "1h")).Err)
	var ttls []string
	readAll(t, l, 0, ">", func(e event.Event) { ttls = append(ttls, e.TTL().String()) })
	if !slices.Equal(ttls, []string{"1h0m0s", "1h0m0s"}) {
		t.Errorf("the log has %q", ttls)
	}
}
