package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
func (m *Memory) End(_ context.Context, topic event.Topic, key string, events ...event.Event) eventlog.Receipt {
	m.mu.Lock()
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
	for _, e := range events {
		m.store(e)
	}
	id := m.store(event.End(topic))
	m.store(event.Event{}) // the fence
	m.ends[topic] = memoryEnd{id, key}
	return eventlog.Receipt{ID: id}
}

// Ended is [eventlog.Log.Ended].
func (m *Memory) Ended(_ context.Context, topic event.Topic) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ends[topic].id.Seq(), m.err
}

// Purge is [eventlog.Log.Purge].
func (m *Memory) Purge(_ context.Context, topic event.Topic) (id event.ID, deleted uint64, err error) {
	m.mu.Lock()
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
	id = event.NewID(Epoch, m.first+uint64(len(m.events)))
	m.store(event.Purged(topic, id, time.Now()))
	return id, deleted, nil
}

func testEnd(t *testing.T, l Log) {
	topic := NewEvent(t, "job", "job", "").Topic()
	appendOne(t, l, "job", "half")
	appendOne(t, l, "jobs", "other")
	last := NewEvent(t, "job", "result", "done")
	end := l.End(t.Context(), topic, "k", last)
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
	if r := l.End(t.Context(), topic, "k", last); r.Err != nil || !r.Repeat || r.ID != end.ID {
		t.Errorf("a repeat got %+v", r)
	}
	for name, r := range map[string]eventlog.Receipt{
		"another end": l.End(t.Context(), topic, "other"), "an end without a key": l.End(t.Context(), topic, ""),
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
	if r := l.End(t.Context(), NewEvent(t, "empty", "empty", "").Topic(), ""); r.Err != nil {
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
	must(t, l.End(t.Context(), topic, "").Err)
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
