package metrics

import "context"

func (c collector) collectLog(s sink) {
	h, l := c.Hub.Stats(), c.Log.Stats()
	s.counter("freshet_tail_events_total", "Events that this node has read at the log's end, published on any node.", h.Published)
	s.counter("freshet_tail_bytes_total", "Bytes of the data of these events.", h.PublishedBytes)
	s.gauge("freshet_tail_last_sequence", "Sequence of the last event that this node has read. Far below freshet_log_last_sequence, its streams lag.", float64(h.Head))

	const appends = "Events that this node has sent to the log, of publishers, relays and the embedding program, by result."
	s.counter("freshet_log_appends_total", appends, l.Stored, "result", "stored")
	s.counter("freshet_log_appends_total", appends, l.Repeats, "result", "repeat")
	s.counter("freshet_log_appends_total", appends, l.Failed, "result", "failed")
	s.histogram("freshet_log_append_duration_seconds", "Time that the log takes to store an event, or the events of one request.", l.Appends)
	s.counter("freshet_log_skipped_messages_total", "Messages of NATS clients that are not valid events.", l.Skipped)
	s.gauge("freshet_nats_connected", "Whether there is a connection to NATS, embedded or external: 1 or 0.", oneIf(l.Connected))
	s.counter("freshet_nats_reconnects_total", "Connections to NATS that were made after the first.", l.Reconnects)

	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	state, err := c.Log.State(ctx)
	if err != nil {
		return // freshet_ready says that something is wrong
	}
	s.gauge("freshet_log_first_sequence", "Sequence of the oldest event in the log.", float64(state.First))
	s.gauge("freshet_log_last_sequence", "Sequence of the last event that was stored.", float64(state.Last))
	s.gauge("freshet_log_events", "Events in the log.", float64(state.Events))
	s.gauge("freshet_log_topics", "Topics that have events in the log.", float64(state.Topics))
	s.gauge("freshet_log_size_bytes", "Size of the log.", float64(state.Bytes))
}
