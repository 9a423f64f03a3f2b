package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// maxBatch is how many events JetStream accepts in one atomic batch.
	maxBatch = 1000
	// maxBatchBytes keeps one batch from blocking the log for long.
	maxBatchBytes = 8 << 20
)

// Entry is an event to append.
type Entry struct {
	Event event.Event
	// Key makes a retry harmless: a second append of the same key and topic within two
	// minutes stores nothing and returns the ID of the first. Empty: no key.
	Key string
	// After is the sequence that the topic's newest event must have, else the Receipt has [ErrMoved]. nil: any.
	After *uint64
	// Origin is stored with an event of another server's stream. Zero: none.
	Origin Origin
}

// Receipt is the log's answer to one [Entry].
type Receipt struct {
	ID     event.ID
	Repeat bool // the key was known: ID is that of the first append
	Err    error
}

// Append returns once the event is stored. The Receipt's Err is [ErrTooLarge] or [ErrFull] if
// nothing was stored, and [ErrUnavailable] if that is not known. Appends that arrive while
// many are in flight are committed together.
func (l *Log) Append(ctx context.Context, entry Entry) Receipt {
	began := time.Now()
	if l.traceOf != nil {
		entry.Event = entry.Event.Traced(l.traceOf(ctx))
	}
	receipt := l.appendOne(ctx, entry)
	l.counters.count(began, receipt)
	return receipt
}

func (l *Log) appendOne(ctx context.Context, entry Entry) Receipt {
	if !l.grouped || len(entry.Event.Data()) > maxGroupedBytes {
		return l.appendDirect(ctx, entry)
	}
	if err := l.writeError(); err != nil {
		return Receipt{Err: err}
	}
	if p := l.group.enqueue(entry); p != nil {
		var cancel func()
		ctx, cancel = l.withAppendTimeout(ctx, answerTimeout)
		defer cancel()
		if r := l.group.wait(ctx, p); !errors.Is(r.Err, errSendDirect) {
			return r
		}
	}
	defer l.finishCommit(nil)
	return l.appendDirect(ctx, entry)
}

func (l *Log) appendDirect(ctx context.Context, entry Entry) Receipt {
	if err := l.writeError(); err != nil {
		return Receipt{Err: err}
	}
	ctx, cancel := l.withAppendTimeout(ctx, answerTimeout)
	defer cancel()
	before, m := l.openTopics.current(), l.message(entry)
	if err := l.expectExpiry(ctx, m); err != nil {
		return Receipt{Err: err}
	}
	ack, err := l.js.PublishMsg(ctx, m, jetstream.WithExpectStream(streamName))
	for err = appendError(entry, err); errors.Is(err, errContended); err = appendError(entry, err) {
		if err = pause(ctx, contendedPause); err == nil {
			ack, err = l.js.PublishMsg(ctx, m, jetstream.WithExpectStream(streamName))
		}
	}
	if l.logStoring(err); err != nil {
		return Receipt{Err: err}
	}
	l.lastAcked.record(event.NewID(l.epoch, ack.Sequence))
	if ack.Duplicate {
		return Receipt{ID: event.NewID(l.epoch, ack.Sequence), Repeat: true}
	}
	return l.stored(ctx, entry, m, before, ack.Sequence)
}

// logStoring logs once that events cannot be stored, and once that they can be again. natsconn logs a lost connection and an embedded
// log that cannot be written.
func (l *Log) logStoring(err error) {
	switch {
	case err == nil:
		if l.cannotStore.Load() && l.cannotStore.Swap(false) {
			l.logger.Info("events can be stored again")
		}
	case !isLogFailure(err) || errors.Is(err, context.Canceled) || l.nc.Connected().Err() != nil || l.nc.Server.Writable().Err() != nil:
	case !l.cannotStore.Swap(true):
		l.logger.Warn("events cannot be stored now", "reason", err)
	}
}

// withAppendTimeout is withTimeout that also cancels once the log cannot be written: it then
// never answers.
func (l *Log) withAppendTimeout(ctx context.Context, timeout time.Duration) (context.Context, func()) {
	ctx, cancel := l.withTimeout(ctx, timeout)
	stop := context.AfterFunc(l.nc.Server.Writable(), cancel)
	return ctx, func() { stop(); cancel() }
}

// AppendAll stores the events in their order and answers each, as [Log.Append] does.
//
//   - Events are committed in batches, so that many share one fsync. If JetStream refuses a
//     batch because one key is a repeat or one event is too large, its events are stored one by one.
//   - After an event that may not have been stored nothing more is tried, so that the order
//     holds. The remaining events get the same error.
func (l *Log) AppendAll(ctx context.Context, entries []Entry) []Receipt {
	began, receipts := time.Now(), make([]Receipt, 0, len(entries))
	entries = l.tracedEntries(ctx, entries)
	for len(receipts) < len(entries) {
		if n := len(receipts); n > 0 && isLogFailure(receipts[n-1].Err) {
			receipts = append(receipts, receipts[n-1])
			continue
		}
		remaining := entries[len(receipts):]
		n, size := 0, 0
		for n < len(remaining) && n < maxBatch && (n == 0 || size+len(remaining[n].Event.Data()) <= maxBatchBytes) {
			size += len(remaining[n].Event.Data())
			n++
		}
		receipts = append(receipts, l.appendBatch(ctx, remaining[:n])...)
	}
	l.counters.count(began, receipts...)
	return receipts
}

// appendBatch returns the receipts of the entries, up to the first failure of the log.
func (l *Log) appendBatch(ctx context.Context, entries []Entry) (receipts []Receipt) {
	if len(entries) > 1 {
		receipts, err := l.commitEntries(ctx, entries)
		switch {
		case err == nil:
			return receipts
		case !errors.Is(err, errRefused):
			return []Receipt{{Err: err}}
		}
	}
	for _, entry := range entries {
		r := l.appendDirect(ctx, entry)
		if receipts = append(receipts, r); isLogFailure(r.Err) {
			break
		}
	}
	return receipts
}

// isLogFailure reports whether the error concerns the log and not the event.
func isLogFailure(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) }

// errRefused: JetStream stored nothing of a batch.
var errRefused = errors.New("the batch was refused")

// commitEntries stores the entries as one atomic batch and returns their receipts.
func (l *Log) commitEntries(ctx context.Context, entries []Entry) ([]Receipt, error) {
	before, messages := l.openTopics.current(), make([]*nats.Msg, len(entries))
	for i, entry := range entries {
		messages[i] = l.message(entry)
	}
	first, err := l.commit(ctx, messages)
	if err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(entries))
	for i, entry := range entries {
		receipts[i] = l.stored(ctx, entry, messages[i], before, first+uint64(i))
	}
	return receipts, nil
}

// Headers of an atomic batch: its ID in each message, and the mark of the last.
const (
	batchHeader  = "Nats-Batch-Id"
	commitHeader = "Nats-Batch-Commit"
)

// commit stores the messages as one atomic batch (NATS ADR-50) and returns the sequence of
// the first; the others follow without a gap.
func (l *Log) commit(ctx context.Context, messages []*nats.Msg) (first uint64, err error) {
	if err := l.writeError(); err != nil {
		return 0, err
	}
	ctx, cancel := l.withAppendTimeout(ctx, 2*answerTimeout)
	defer cancel()
	if err := l.expectExpiry(ctx, messages...); err != nil {
		return 0, err
	}
	batch := nuid.Next()
	for i, m := range messages {
		m.Header.Set(jetstream.ExpectedStreamHeader, streamName)
		m.Header.Set(batchHeader, batch)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(messages)-1 {
			if err := l.nc.PublishMsg(m); err != nil {
				return 0, fmt.Errorf("%w: %w", errRefused, wrapError(err)) // JetStream drops a batch without its commit
			}
			continue
		}
		m.Header.Set(commitHeader, "1")
		reply, err := l.nc.RequestMsgWithContext(ctx, m)
		if errors.Is(err, nats.ErrMaxPayload) {
			return 0, errRefused
		}
		err = wrapError(err)
		if l.logStoring(err); err != nil {
			return 0, err
		}
		var ack struct {
			Seq   uint64              `json:"seq"`
			Count uint64              `json:"count"`
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(reply.Data, &ack); err != nil {
			return 0, wrapError(err)
		}
		if ack.Error != nil {
			return 0, fmt.Errorf("%w: %w", errRefused, ack.Error)
		}
		if ack.Count != uint64(len(messages)) || ack.Seq < ack.Count {
			return 0, fmt.Errorf("%w: unexpected answer to a batch of %d events: %s", ErrUnavailable, len(messages), reply.Data)
		}
		l.lastAcked.record(event.NewID(l.epoch, ack.Seq))
		first = ack.Seq - ack.Count + 1
	}
	return first, nil
}

// encode returns the JetStream message of an event.
func encode(entry Entry) *nats.Msg {
	e := entry.Event
	m := nats.NewMsg(subjectPrefix + e.Topic().String())
	m.Data = []byte(e.Data())
	if e.Type() != event.TypeOf(e.Topic()) {
		m.Header.Set(typeHeader, e.Type().String())
	}
	setTrace(m.Header, e.Trace())
	if entry.Origin != (Origin{}) {
		m.Header.Set(originHeader, entry.Origin.header())
	}
	if entry.Key != "" {
		// JetStream compares keys within the stream; ours are per topic.
		m.Header.Set(jetstream.MsgIDHeader, e.Topic().String()+" "+entry.Key)
	}
	return m
}

// decode returns the event of a JetStream message. A message that is not a valid event becomes
// one with an ID but no topic, which no pattern selects; invalid says why.
func (l *Log) decode(subject string, header nats.Header, data []byte, seq uint64, at time.Time) (e event.Event, invalid error) {
	name, ours := strings.CutPrefix(subject, subjectPrefix)
	switch {
	case !ours: // stored before the stream was the log's
		name = ""
	case strings.HasPrefix(subject, fencePrefix):
		return e.Stored(event.NewID(l.epoch, seq), at), nil
	}
	topic, invalid := event.ParseStoredTopic(name)
	typ := event.TypeOf(topic)
	if name := header.Get(typeHeader); name != "" && invalid == nil {
		typ, invalid = event.ParseType(name)
	}
	switch mark := header.Get(markHeader); {
	case invalid != nil:
	case mark == markEnd:
		e = event.End(topic)
	case mark == markPurged:
		return event.Purged(topic, event.NewID(l.epoch, seq), at).WithTTL(ttlOf(header)), nil
	default:
		e, invalid = event.New(topic, typ, string(data))
	}
	return e.WithTTL(ttlOf(header)).Stored(event.NewID(l.epoch, seq), at), invalid
}
