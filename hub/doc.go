// Package hub hands the log's events to subscribers.
//
// One goroutine tails the log, encodes each event once and keeps the recent ones in a
// window bounded by bytes. A [Subscriber] is a cursor, not a queue: it holds the place up
// to which it has been handed events, and reads on from the window, or behind the window
// from the log, joining the window again without gap or repeat.
//
// Order: a subscriber is handed the events that its patterns select in the order of the
// log, each once; where the log no longer keeps what it is due, it is handed a gap event
// instead. Only what a limit on the events of one topic drops is not told. Blocking:
// [Subscriber.Next] never blocks and takes no lock; [Subscriber.Replay] waits for the log.
// The hub waits for no subscriber: one that reads nothing costs a number. Ownership: a
// Subscriber belongs to one reader at a time, which need not be a goroutine of its own; an
// [Entry] is shared by all and never changes.
package hub
