// Package eventlog is the durable, ordered log: one JetStream stream, in an embedded server
// or an external cluster, which package natsconn connects to.
//
// # Order and IDs
//
//   - The stream's sequence numbers the events. With the log's epoch it is the event ID, the
//     same on every node.
//   - [Log.Tail] follows the log; [Log.Read] reads a part. Both call back in order, once an event.
//   - An event of topic a.b is a message on subject event.a.b, with its type in the header
//     Event-Type: any NATS client can publish. Readers skip messages that are not valid
//     events. The tail counts them, and logs at most one line a minute.
//
// # Appending
//
//   - [Log.Append] returns once the event is stored; with the default Config, once it is on disk.
//   - Appends that arrive while many are in flight are committed together, where each alone
//     would cost an fsync or a round of the cluster. Each gets its own answer.
//   - A single append waits for no others. At most 65,536 wait: the next is [ErrUnavailable].
//   - An event with a TTL is deleted after it, and is never read later. The first one makes the log expect holes at any time.
//
// # Reading
//
//   - A slow callback blocks its own read or tail, and nothing else.
//   - A reader that continues within a second finds its JetStream consumer again, with the next
//     events already requested. A Log caches at most 64 consumers.
//
// # Failures of the embedded log
//
//   - While its disk accepts no data, appends fail with [ErrFull] and reading continues. Once
//     there is room the log heals itself; its readers see a short disconnect.
//   - The log records the last ID that it acknowledged. A log that lacks acknowledged events
//     gets a new epoch: no ID is used twice, and readers that resume by an old one get a gap.
//
// A Log is safe for concurrent use, until it is closed. Events are values.
//
// In addition to events, a Log keeps a [Store] of small values that all nodes share.
package eventlog

import (
	"errors"

	"freshet/eventlog/natsconn"
)

// Errors that callers tell apart with errors.Is. Each is wrapped with the details.
var (
	// ErrUnavailable: the log did not answer. An append may or may not have been stored.
	ErrUnavailable = errors.New("the log does not answer")
	// ErrRefused: the external NATS does not accept the credentials. An append was not stored.
	// The error is also ErrUnavailable.
	ErrRefused = natsconn.ErrRefused
	// ErrCredentials: the credentials file for the external NATS is missing, unreadable or malformed.
	ErrCredentials = natsconn.ErrCredentials
	// ErrFull: the event was not stored, because there is no room or its disk cannot be
	// written. Reading still works. An append that was in flight when the disk failed gets
	// ErrUnavailable.
	ErrFull = errors.New("the log cannot store the event")
	// ErrTooLarge: the event is larger than the log accepts; it was not stored.
	ErrTooLarge = errors.New("the event is larger than the log accepts")
	// ErrNoTTL: the stream of the external NATS does not allow events with a TTL. The event was not stored.
	ErrNoTTL = errors.New("the stream does not allow events with a TTL")
	// ErrEnded: the topic has ended. The event was not stored, or, if it was in flight meanwhile, after the end.
	ErrEnded = errors.New("the topic has ended")
	// ErrMoved: the topic has a newer event than the append expected. It was not stored.
	ErrMoved = errors.New("the topic has a newer event")
	// ErrRenewed: while the log was open, its stream or data folder was deleted or replaced, or
	// events were lost. Only opening it again helps; the events then have other IDs.
	ErrRenewed = natsconn.ErrRenewed
	// ErrSettings: the stream of the external NATS has other settings than the Config, or than a log needs.
	ErrSettings = errors.New("the settings differ from the stream \"freshet\"")
	// ErrInUse: another process holds the data folder.
	ErrInUse = natsconn.ErrInUse
	// ErrBackup: the file is not a whole backup.
	ErrBackup = errors.New("not a whole backup of Freshet")
	// ErrOldNATS: the NATS server cannot make or read the snapshots that backups consist of.
	ErrOldNATS = errors.New("backups need NATS 2.15 or later")
	// ErrLogExists: there is a log already where one is to be restored.
	ErrLogExists = errors.New("there is a log already")
	// ErrUnfinished: restoring the log was interrupted, or is in progress.
	ErrUnfinished = errors.New("the log is not restored completely")
	// ErrElsewhere: the log in the data folder continues elsewhere.
	ErrElsewhere = errors.New("the log has moved")
	// ErrNoLog: there is no log in the folder.
	ErrNoLog = errors.New("there is no log")
)
