// Package client publishes to a Freshet server and subscribes to it.
// It needs the standard library and freshet/event alone.
//
// # Publishing
//
//   - [Client.Publish] and [Client.PublishAll] block until the server has stored the events
//     or refused them.
//   - They retry lost connections and the statuses 429, 502, 503 and 504, with growing and
//     random waits, until the context ends, and for 110 seconds at most.
//   - Every request has an idempotency key, so a retry stores nothing twice. The server
//     forgets a key after two minutes: hence the 110 seconds.
//   - A refusal is an [*Error]. A full disk (507) is one too: a retry would not help before
//     an operator makes room.
//
// # Subscribing
//
//   - [Client.Subscribe] yields events in the order of the log, each once. It reconnects and
//     resumes after the last event ID by itself.
//   - The loop's body may be slow: unread events wait in the server's log, and a reader that
//     falls behind retention gets a gap.
//   - A gap is an event with [Event.Gap]: some events are lost, and the rest follows.
//   - Leaving the loop closes the connection. An error is always the last thing that a loop
//     yields. A loop that ends without one read everything of topics that have ended.
//   - [Follow] does the same with the event stream of any server.
//   - [Client.Open] is one connection without resuming, frame by frame.
//
// A [Client] is safe for concurrent use. Iterators and readers belong to one goroutine each.
package client
