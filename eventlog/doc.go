// Package eventlog is the durable, ordered log: one JetStream stream, held by an embedded
// server or an external cluster, and the same code from there on.
//
// The log numbers events by its stream sequence; with the stream's creation time as epoch
// that is the event ID, the same on every node. [Log.Append] returns once the event is
// stored for good: with the default Config, once it is on disk. [Log.Tail] follows the
// log without end, [Log.Read] reads a part of it; both call back in order, each event
// once. An event of the topic a.b is a JetStream message on the subject event.a.b with its
// type in the header Event-Type, so that any NATS client can publish. What such a client
// sends that is not a valid event is passed over by every reader and logged by the tail.
//
// The embedded log looks after itself. When its disk takes no more, appends fail with
// [ErrFull] and reading goes on; once there is room it heals, which its readers feel as a
// NATS that was away for a moment. It notes the last ID that it has answered: a log that
// is found to lack some of those gets another epoch, so that no ID is given twice and
// whoever resumes by one of the old is told a gap.
//
// Who reads on from where a read ended within a second finds its JetStream consumer there,
// with the next events under way. Beside those of reads and tails under way, a Log has at
// most 64 consumers.
//
// Where each append by itself would cost an fsync, or a round of the cluster, those that come
// while many are under way are committed together, each with an answer of its own. An append
// that is alone waits for no others, and at most 65,536 wait: the next is [ErrUnavailable].
//
// Beside the events a Log has a [Store] of small values that all nodes share.
//
// A Log is safe for concurrent use. Callers own nothing of it; events are values.
package eventlog

import "errors"

// Errors that callers tell apart with errors.Is. Each is wrapped with what happened.
var (
	// ErrUnavailable: the log did not answer. An append may or may not have been stored.
	ErrUnavailable = errors.New("the log does not answer")
	// ErrFull: there is no room for the event, or its disk can no longer be written; it was
	// not stored. What is stored can still be read. An append that was under way when the
	// disk failed is ErrUnavailable.
	ErrFull = errors.New("the log cannot store the event")
	// ErrTooLarge: the event is larger than the log takes; it was not stored.
	ErrTooLarge = errors.New("the event is larger than the log takes")
	// ErrRenewed: while the log was open, the stream was deleted and made anew, the data
	// folder was removed, or events were lost. Only opening it again helps, and what is
	// found then has other IDs.
	ErrRenewed = errors.New("the log was made anew")
	// ErrInUse: another process holds the data folder.
	ErrInUse = errors.New("the data folder is in use by another process")
)
