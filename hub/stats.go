package hub

import (
	"slices"
	"sync/atomic"
	"time"

	"freshet/event"
	"freshet/metrics/latency"
)

type counters struct {
	subscribers    atomic.Int64
	published      atomic.Uint64
	publishedBytes atomic.Uint64
	delivered      atomic.Uint64 // from the window
	replayed       atomic.Uint64 // from the log
	gaps           [len(gapReasons)]atomic.Uint64
	latency        latency.Histogram
	replays        latency.Histogram
}

var gapReasons = [...]event.GapReason{event.GapEpoch, event.GapExpired, event.GapUnknown, event.GapPurged}

// Stats is a snapshot of the hub's counters. All but Subscribers, Head and Replaying count since the hub was made and never fall.
type Stats struct {
	Subscribers    int64  // now
	Head           uint64 // the newest sequence that the tail has read
	Published      uint64 // events that the log stored
	PublishedBytes uint64 // of their data
	Delivered      uint64 // events written to subscribers
	Replayed       uint64 // of these, the ones that had left the window
	Replaying      int    // subscribers that read the log now
	Gaps           map[event.GapReason]uint64
	Latency        latency.Snapshot // of deliveries: from the log's append to the write
	Replays        latency.Snapshot // of calls of [Subscriber.Replay], with their waits
}

// Stats returns a snapshot of the counters.
func (h *Hub) Stats() Stats {
	c := &h.counters
	s := Stats{
		Subscribers: c.subscribers.Load(), Head: h.window.head.Load(), Published: c.published.Load(), PublishedBytes: c.publishedBytes.Load(),
		Replayed: c.replayed.Load(), Replaying: len(h.replays), Gaps: map[event.GapReason]uint64{},
		Latency: c.latency.Snapshot(), Replays: c.replays.Snapshot(),
	}
	s.Delivered = s.Replayed + c.delivered.Load()
	for i, reason := range gapReasons {
		s.Gaps[reason] = c.gaps[i].Load()
	}
	return s
}

func (c *counters) gap(reason event.GapReason) {
	for i := range gapReasons {
		if gapReasons[i] == reason {
			c.gaps[i].Add(1)
		}
	}
}

// noteEnd notes that a delivered event ends its topic, or opens it again.
func (s *Subscriber) noteEnd(e event.Event) {
	switch e.Type() {
	case event.TypeEnd:
		if s.patterns.Exact() {
			s.ended = append(s.ended, e.Topic())
		}
	case event.TypeGap:
		if e.Topic() != (event.Topic{}) {
			s.hub.counters.gap(event.GapPurged)
			s.ended = slices.DeleteFunc(s.ended, func(t event.Topic) bool { return t == e.Topic() })
		}
	}
}

// Delivered counts entries that were written to the subscriber's connection at the time now. The latency counted is
// that of the oldest entry. An event that is older than the subscription has none, and its delivery is not traced.
func (s *Subscriber) Delivered(entries []*Entry, now time.Time) {
	if len(entries) == 0 {
		return
	}
	s.sent.Add(uint64(len(entries)))
	for _, e := range entries {
		s.noteEnd(e.Event)
	}
	c := &s.hub.counters
	if s.unwritten.size > 0 { // the entries are those of the last Replay
		c.replayed.Add(uint64(len(entries)))
	} else {
		c.delivered.Add(uint64(len(entries)))
	}
	if e := entries[0]; e.seq() > s.subscribedAt && !e.Event.Time().IsZero() { // a gap has no time
		c.latency.Observe(now.Sub(e.Event.Time()))
	}
	if s.hub.deliveries == nil {
		return
	}
	for _, e := range entries {
		if e.seq() > s.subscribedAt {
			s.hub.deliveries.Delivered(e.Event.ID(), now)
		}
	}
}
