package metrics

import (
	"strings"

	"freshet/stream"
)

func (c collector) collectStreams(s sink) {
	f, h := c.Handlers.Figures(), c.Hub.Stats()
	const open = "Open event streams, by the client's HTTP version and whether they are parked, that is held without a goroutine."
	for transport, n := range f.Streams.Open {
		if transport == stream.HTTP11 { // only these can be parked
			parked := min(f.Parked, n) // the two counts are not of exactly the same moment
			s.gauge("freshet_streams", open, float64(parked), "transport", transport.String(), "state", "parked")
			n -= parked
		}
		s.gauge("freshet_streams", open, float64(n), "transport", transport.String(), "state", "active")
	}
	for transport, n := range f.Streams.Opened {
		s.counter("freshet_streams_opened_total", "Event streams that were opened, by the client's HTTP version.", n, "transport", transport.String())
	}
	for reason, n := range f.Streams.Closed {
		s.counter("freshet_streams_closed_total", "Event streams that have ended, by reason.", n, "reason", labelOf(reason))
	}
	s.counter("freshet_stream_written_bytes_total", "Bytes written to streams, with heartbeats and built-in events, without HTTP and TLS.", f.Streams.Bytes)
	const delivered = "Events of the log that were written to streams, by where they were read: in the window, or in the log if they had left the window."
	s.counter("freshet_delivered_events_total", delivered, h.Delivered-h.Replayed, "source", "window")
	s.counter("freshet_delivered_events_total", delivered, h.Replayed, "source", "log")
	s.histogram("freshet_delivery_latency_seconds", "Time from storing an event to writing it to a stream. Events that are written together count once, with the oldest.", h.Latency)
	s.histogram("freshet_replay_duration_seconds", "Time of one read of older events for a stream, with its wait for memory and for a place among --max-replays.", h.Replays)
	s.gauge("freshet_replays", "Streams that read older events from the log now.", float64(h.Replaying))
	for reason, n := range h.Gaps {
		s.counter("freshet_gaps_total", "Gap events for streams, by reason.", n, "reason", string(reason))
	}
}

// labelOf is the reason as the value of a label.
func labelOf(reason stream.Reason) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(reason.String())
}
