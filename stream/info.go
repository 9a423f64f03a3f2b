package stream

import (
	"log/slog"
	"strings"
	"time"

	"freshet/event"
)

// States of an open stream, as an operator sees them.
const (
	StateLive       = "live"
	StateCatchingUp = "catching up"
	StateParked     = "parked"
)

// ID identifies the stream among those of its registry.
func (s *Stream) ID() uint64 { return s.id }

// Info describes an open stream.
type Info struct {
	Topics  []string
	From    event.ID      // the cursor that it started from
	Sent    uint64        // events of the log
	Lag     uint64        // events of the log, of whatever topic, that it has still to look at
	State   string        //
	Address string        // the client's, or its network
	Open    time.Duration // since it was opened
}

// Info describes the stream as it is now.
func (s *Stream) Info() Info {
	i := Info{
		Topics: s.topics(), From: s.from, Sent: s.sub.Sent(), Lag: s.sub.Lag(),
		State: StateLive, Address: s.address.String(), Open: s.registry.Now() - s.opened,
	}
	if s.address.IsSingleIP() {
		i.Address = s.address.Addr().String()
	}
	switch {
	case s.parked.Load():
		i.State = StateParked
	case i.Lag > 0:
		i.State = StateCatchingUp
	}
	return i
}

func (s *Stream) topics() []string {
	topics := []string{}
	for _, pattern := range s.sub.Patterns() {
		topics = append(topics, pattern.String())
	}
	if s.counter {
		topics = append(topics, event.TopicCounter.String())
	}
	if s.stats {
		topics = append(topics, event.TopicStats.String())
	}
	return topics
}

// Attrs describe the stream in the record of its opening.
func (s *Stream) Attrs() []slog.Attr {
	return []slog.Attr{slog.String("topics", strings.Join(s.topics(), " ")), slog.String("from", s.from.String())}
}

// ClosingAttrs are what the record of the stream's end has beside Attrs. Only the stream's
// driver may call it.
func (s *Stream) ClosingAttrs(why Reason) []slog.Attr {
	return []slog.Attr{slog.Int("events", s.events), slog.String("reason", why.String())}
}

// Bytes is how many bytes of events were written. Only the stream's driver may call it.
func (s *Stream) Bytes() int { return s.bytes }
