// Package hub delivers the log's events to subscribers.
//
// One goroutine tails the log. It encodes each event once, keeps the newest events in a window that is bounded by
// bytes, and wakes the subscribers that select the event. A [Subscriber] is a cursor into the log, not a queue. It
// reads from the window, or from the log while it is behind the window.
//
//   - Order: a subscriber gets the events that its patterns select in the order of the log, each once.
//   - Gaps: if the log no longer has an event that is due, the subscriber gets a gap event instead. Exceptions are a limit
//     per topic and TTLs: the events that they delete in the middle of the log leave no gap.
//   - Expiry: no subscriber gets an event from the window after its TTL.
//   - Blocking: [Subscriber.Next] never blocks and takes no lock. [Subscriber.Replay] waits for the log.
//   - Slow subscribers: the hub waits for none, and keeps nothing for them.
//   - Ownership: one reader at a time uses a subscriber. All subscribers share an [Entry], which never changes.
package hub
