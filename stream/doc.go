// Package stream delivers events to open connections.
//
// A [Stream] is one connection's state machine: the opening, replay, live events, the
// counter, stats, heartbeats, drain and expiry. [Stream.Step] writes everything that is due.
// It returns when the next step is due, or why the stream has ended. It never blocks
// and starts no goroutine. A driver runs the machine:
//
//   - [Loop] runs it on the goroutine of an HTTP handler and writes to a [Response].
//   - Package park runs many of them on one goroutine, with non-blocking writes.
//
// The [Registry] opens streams, holds the limits on them, lists them, and ends them: one by
// one, all that match, or all over the time of a drain.
//
// Rules:
//
//   - Order: an event is written after all earlier ones that the stream selects.
//   - Ownership: one driver at a time steps a stream. Wake, Stop and Info may be called from
//     anywhere.
//   - Slow clients: a client that takes nothing for [Config].Stall is disconnected. Until
//     then its stream keeps at most one piece of a replay in memory, about 256 KiB or one event.
//   - Last words: a stream that is ended by the server says so with its last event, unless
//     the connection takes nothing. The client resumes by its last event ID.
//
// A new format is a value of [event.Format]. A new transport, such as a WebSocket, is an
// implementation of [Output].
package stream
