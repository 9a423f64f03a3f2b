package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog"
)

// memoryEnd is the end of a topic of a [Memory].
type memoryEnd struct {
	id  event.ID
	key string
}

// End is [eventlog.Log.End].
func (m *Memory) End(_ context.Context, topic event.Topic, key string, ttl event.TTL, last ...eventlog.Entry) eventlog.Receipt {
	m.lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return eventlog.Receipt{Err: m.err}
	}
	if end, ended := m.ends[topic]; ended {
		if key != "" && end.key == key {
			return eventlog.Receipt{ID: end.id, Repeat: true}
		}
		return eventlog.Receipt{Err: eventlog.ErrEnded}
	}
	if len(last) > 0 && !m.follows(last[0]) {
		return eventlog.Receipt{Err: eventlog.ErrMoved}
	}
	for _, entry := range last {
		m.store(entry.Event)
		m.note(entry)
	}
	id := m.store(event.End(topic).WithTTL(ttl))
	m.store(event.Event{}) // the fence
	m.ends[topic] = memoryEnd{id, key}
	return eventlog.Receipt{ID: id}
}

// LinesOf is [eventlog.Log.LinesOf].
func (m *Memory) LinesOf(_ context.Context, topic event.Topic, key string) (lines eventlog.Lines, err error) {
	m.lock()
	defer m.mu.Unlock()
	_, ended := m.ends[topic]
	return eventlog.Lines{Stored: m.lines[topic][eventlog.LineOrigin(key, 0).Source], Newest: m.newest(topic), Ended: ended}, m.err
}

// newest returns the sequence of the topic's newest event. The mutex is held.
func (m *Memory) newest(topic event.Topic) uint64 {
	for _, e := range slices.Backward(m.events) {
		if e.Topic() == topic {
			return e.ID().Seq()
		}
	}
	return 0
}

// follows reports whether the newest event of the topic is the one that the entry expects. The mutex is held.
func (m *Memory) follows(entry eventlog.Entry) bool {
	return entry.After == nil || *entry.After == m.newest(entry.Event.Topic())
}

// note notes the line of the entry's origin. The mutex is held.
func (m *Memory) note(entry eventlog.Entry) {
	line, err := strconv.ParseUint(entry.Origin.ID, 10, 64)
	if err != nil {
		return
	}
	topic := entry.Event.Topic()
	if m.lines[topic] == nil {
		m.lines[topic] = map[string]uint64{}
	}
	m.lines[topic][entry.Origin.Source] = line
}

// Ended is [eventlog.Log.Ended].
func (m *Memory) Ended(_ context.Context, topic event.Topic) (uint64, error) {
	m.lock()
	defer m.mu.Unlock()
	return m.ends[topic].id.Seq(), m.err
}

// Purge is [eventlog.Log.Purge].
func (m *Memory) Purge(_ context.Context, topic event.Topic) (id event.ID, deleted uint64, err error) {
	m.lock()
	defer m.mu.Unlock()
	for i, e := range m.events {
		if e.Topic() == topic {
			m.events[i] = event.Event{}.Stored(e.ID(), e.Time())
			deleted++
		}
	}
	if m.err != nil || deleted == 0 {
		return event.ID{}, 0, m.err
	}
	delete(m.ends, topic)
	delete(m.lines, topic)
	id = event.NewID(Epoch, m.first+uint64(len(m.events)))
	m.store(event.Purged(topic, id, time.Now()))
	return id, deleted, nil
}

func testEnd(t *testing.T, l Log) {
	topic := NewEvent(t, "job", "job", "").Topic()
	appendOne(t, l, "job", "half")
	appendOne(t, l, "jobs", "other")
	last := NewEvent(t, "job", "result", "done")
	end := l.End(t.Context(), topic, "k", event.TTL{}, eventlog.Entry{Event: last})
	must(t, end.Err)
	if seq, err := l.Ended(t.Context(), topic); err != nil || seq != end.ID.Seq() || end.Repeat {
		t.Errorf("ended at %d, %v; the receipt is %+v", seq, err, end)
	}
	want := []string{
		fmt.Sprintf("%v job job half", event.NewID(end.ID.Epoch(), 1)), fmt.Sprintf("%v job result done", event.NewID(end.ID.Epoch(), 3)),
		fmt.Sprintf(`%v job end {"topic":"job"}`, end.ID),
	}
	if got := read(t, l, 0, "job"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if r := l.End(t.Context(), topic, "k", event.TTL{}, eventlog.Entry{Event: last}); r.Err != nil || !r.Repeat || r.ID != end.ID {
		t.Errorf("a repeat got %+v", r)
	}
	for name, r := range map[string]eventlog.Receipt{
		"another end": l.End(t.Context(), topic, "other", event.TTL{}), "an end without a key": l.End(t.Context(), topic, "", event.TTL{}),
		"an event":          l.Append(t.Context(), eventlog.Entry{Event: last}),
		"an event with key": l.Append(t.Context(), eventlog.Entry{Event: last, Key: "late"}),
	} {
		if !errors.Is(r.Err, eventlog.ErrEnded) {
			t.Errorf("%s got %+v", name, r)
		}
	}
	receipts := l.AppendAll(t.Context(), []eventlog.Entry{{Event: NewEvent(t, "jobs", "jobs", "")}, {Event: last}, {Event: NewEvent(t, "jobs.1", "jobs", "")}})
	if receipts[0].Err != nil || !errors.Is(receipts[1].Err, eventlog.ErrEnded) || receipts[2].Err != nil {
		t.Errorf("events of three topics got %+v", receipts)
	}
	if got := read(t, l, 0, "job"); !slices.Equal(got, want) {
		t.Errorf("got %q after the end, want %q", got, want)
	}
	if r := l.End(t.Context(), NewEvent(t, "empty", "empty", "").Topic(), "", event.TTL{}); r.Err != nil {
		t.Errorf("the end of a topic without events got %+v", r)
	}
}

func testPurge(t *testing.T, l Log) {
	topic := NewEvent(t, "job", "job", "").Topic()
	if id, deleted, err := l.Purge(t.Context(), topic); !id.IsZero() || deleted != 0 || err != nil {
		t.Errorf("a purge of nothing got %v, %d, %v", id, deleted, err)
	}
	appendOne(t, l, "job", "secret")
	appendOne(t, l, "jobs", "stays")
	must(t, l.End(t.Context(), topic, "", event.TTL{}).Err)
	id, deleted, err := l.Purge(t.Context(), topic)
	if err != nil || deleted != 2 {
		t.Fatalf("%d deleted, %v", deleted, err)
	}
	if seq, err := l.Ended(t.Context(), topic); seq != 0 || err != nil {
		t.Errorf("after the purge, the topic has ended at %d, %v", seq, err)
	}
	appendOne(t, l, "job", "again")
	want := []string{
		fmt.Sprintf(`%v job gap {"requested":"","first":"%[1]v","resumed":"%[1]v","reason":"purged","topic":"job"}`, id),
		fmt.Sprintf("%v job job again", event.NewID(id.Epoch(), id.Seq()+1)),
	}
	if got := read(t, l, 0, "job"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := read(t, l, 0, "jobs"); len(got) != 1 {
		t.Errorf("the other topic has %q", got)
	}
}

func testLines(t *testing.T, l Log) {
	e := NewEvent(t, "answer", "answer", "x")
	piece := func(key string, line, after uint64) eventlog.Entry {
		return eventlog.Entry{Event: e, Origin: eventlog.LineOrigin(key, line), After: &after}
	}
	linesOf := func(key string, want eventlog.Lines) {
		t.Helper()
		if got, err := l.LinesOf(t.Context(), e.Topic(), key); err != nil || got != want {
			t.Errorf("the lines of %q are %+v, %v; want %+v", key, got, err, want)
		}
	}
	linesOf("k 1", eventlog.Lines{})
	must(t, l.Append(t.Context(), piece("k 1", 3, 0)).Err)
	linesOf("k 1", eventlog.Lines{Stored: 3, Newest: 1})
	linesOf("k", eventlog.Lines{Newest: 1})
	if r := l.Append(t.Context(), piece("k 1", 5, 0)); !errors.Is(r.Err, eventlog.ErrMoved) {
		t.Errorf("an append after another event got %+v", r)
	}
	appendOne(t, l, "answer", "of somebody else")
	linesOf("k 1", eventlog.Lines{Stored: 3, Newest: 2})
	if r := l.End(t.Context(), e.Topic(), "k 1", event.TTL{}, piece("k 1", 5, 1)); !errors.Is(r.Err, eventlog.ErrMoved) {
		t.Errorf("an end after another event got %+v", r)
	}
	end := l.End(t.Context(), e.Topic(), "k 1", event.TTL{}, piece("k 1", 5, 2))
	must(t, end.Err)
	linesOf("k 1", eventlog.Lines{Stored: 5, Newest: end.ID.Seq(), Ended: true})
	if r := l.End(t.Context(), e.Topic(), "k 1", event.TTL{}, piece("k 1", 5, 2)); r.Err != nil || !r.Repeat || r.ID != end.ID {
		t.Errorf("a repeat of the end got %+v", r)
	}
}
