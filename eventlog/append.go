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

// maxBatch is how many events JetStream takes in one atomic batch.
const maxBatch = 1000

// maxBatchBytes keeps one batch from holding the log up for long.
const maxBatchBytes = 8 << 20

// Entry is an event to append.
type Entry struct {
	Event event.Event
	// Key makes a repeat harmless: a second append of the same key and topic, within two
	// minutes, stores nothing and is answered with the first one's ID. Empty: no key.
	Key string
}

// Receipt is the log's answer to one [Entry].
type Receipt struct {
	ID     event.ID
	Repeat bool // the key was known: ID is that of the first append
	Err    error
}

// Append stores the event and answers once that is for good. The Receipt's Err is
// [ErrTooLarge] or [ErrFull] where nothing was stored, and [ErrUnavailable] where that
// cannot be known. Appends that come while many are under way are committed together.
func (l *Log) Append(ctx context.Context, entry Entry) Receipt {
	if !l.shared || len(entry.Event.Data()) > maxShared {
		return l.appendAlone(ctx, entry)
	}
	if err := l.broken(); err != nil {
		return Receipt{Err: err}
	}
	if w := l.queue.join(entry); w != nil {
		var cancel func()
		ctx, cancel = l.appending(ctx, answerTimeout)
		defer cancel()
		if r := l.queue.wait(ctx, w); !errors.Is(r.Err, errAlone) {
			return r
		}
	}
	defer l.next()
	return l.appendAlone(ctx, entry)
}

func (l *Log) appendAlone(ctx context.Context, entry Entry) Receipt {
	if err := l.broken(); err != nil {
		return Receipt{Err: err}
	}
	ctx, cancel := l.appending(ctx, answerTimeout)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, encode(entry), jetstream.WithExpectStream(streamName))
	if err != nil {
		return Receipt{Err: answer(err)}
	}
	return Receipt{ID: l.answered(ack.Sequence), Repeat: ack.Duplicate}
}

// appending bounds an append, which a log that cannot be written never answers.
func (l *Log) appending(ctx context.Context, d time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	if l.embedded == nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(l.embedded.state(), cancel)
	return ctx, func() { stop(); cancel() }
}

// answered is the ID of the event that an append was answered for.
func (l *Log) answered(seq uint64) event.ID {
	id := event.NewID(l.epoch, seq)
	if l.mark != nil {
		l.mark.set(id)
	}
	return id
}

// AppendAll stores the events in their order and answers each, as [Log.Append] does.
// Events are committed by the batch, so that one fsync serves many; a batch that JetStream
// refuses as a whole, because one key is a repeat or one event is too large, is stored
// event by event. What follows an event that may not have been stored is not tried, so
// that the order holds: it is answered with the same error.
func (l *Log) AppendAll(ctx context.Context, entries []Entry) []Receipt {
	receipts := make([]Receipt, 0, len(entries))
	for len(receipts) < len(entries) {
		if n := len(receipts); n > 0 && lost(receipts[n-1].Err) {
			receipts = append(receipts, receipts[n-1])
			continue
		}
		rest := entries[len(receipts):]
		n, size := 0, 0
		for n < len(rest) && n < maxBatch && (n == 0 || size+len(rest[n].Event.Data()) <= maxBatchBytes) {
			size += len(rest[n].Event.Data())
			n++
		}
		receipts = l.appendBatch(ctx, rest[:n], receipts)
	}
	return receipts
}

// appendBatch adds the receipts of the entries; of fewer, if the last is of one that is lost.
func (l *Log) appendBatch(ctx context.Context, entries []Entry, receipts []Receipt) []Receipt {
	if len(entries) > 1 {
		first, err := l.commit(ctx, entries)
		switch {
		case err == nil:
			l.answered(first + uint64(len(entries)) - 1)
			for i := range entries {
				receipts = append(receipts, Receipt{ID: event.NewID(l.epoch, first+uint64(i))})
			}
			return receipts
		case !errors.Is(err, errRefused):
			return append(receipts, Receipt{Err: err})
		}
	}
	for _, entry := range entries {
		r := l.appendAlone(ctx, entry)
		if receipts = append(receipts, r); lost(r.Err) {
			break
		}
	}
	return receipts
}

// lost reports whether the error concerns the log and not the event.
func lost(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) }

// errRefused: JetStream stored nothing of a batch.
var errRefused = errors.New("the batch was refused")

// commit stores the entries as one atomic batch (NATS ADR-50) and returns the sequence of
// the first; the others follow it without a hole.
func (l *Log) commit(ctx context.Context, entries []Entry) (first uint64, err error) {
	if err := l.broken(); err != nil {
		return 0, err
	}
	ctx, cancel := l.appending(ctx, 2*answerTimeout)
	defer cancel()
	batch := nuid.Next()
	for i, entry := range entries {
		m := encode(entry)
		m.Header.Set(jetstream.ExpectedStreamHeader, streamName)
		m.Header.Set("Nats-Batch-Id", batch)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(entries)-1 {
			if err := l.nc.PublishMsg(m); err != nil {
				return 0, fmt.Errorf("%w: %w", errRefused, answer(err)) // without its commit a batch is dropped
			}
			continue
		}
		m.Header.Set("Nats-Batch-Commit", "1")
		reply, err := l.nc.RequestMsgWithContext(ctx, m)
		if errors.Is(err, nats.ErrMaxPayload) {
			return 0, errRefused
		}
		if err != nil {
			return 0, answer(err)
		}
		var ack struct {
			Seq   uint64              `json:"seq"`
			Count uint64              `json:"count"`
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(reply.Data, &ack); err != nil {
			return 0, answer(err)
		}
		if ack.Error != nil {
			return 0, fmt.Errorf("%w: %w", errRefused, ack.Error)
		}
		if ack.Count != uint64(len(entries)) || ack.Seq < ack.Count {
			return 0, fmt.Errorf("%w: a batch of %d was answered with %s", ErrUnavailable, len(entries), reply.Data)
		}
		first = ack.Seq - ack.Count + 1
	}
	return first, nil
}

// encode makes the JetStream message of an event.
func encode(entry Entry) *nats.Msg {
	e := entry.Event
	m := nats.NewMsg(subjectPrefix + e.Topic().String())
	m.Data = []byte(e.Data())
	if e.Type() != event.TypeOf(e.Topic()) {
		m.Header.Set(typeHeader, e.Type().String())
	}
	if entry.Key != "" {
		// JetStream knows keys by the stream; ours are the topic's.
		m.Header.Set(jetstream.MsgIDHeader, e.Topic().String()+" "+entry.Key)
	}
	return m
}

// decode makes the event of a JetStream message. What a NATS client sent that is no valid
// event becomes one with an ID but no topic, which no pattern selects; invalid says why.
func (l *Log) decode(subject string, header nats.Header, data []byte, seq uint64, at time.Time) (e event.Event, invalid error) {
	name, ours := strings.CutPrefix(subject, subjectPrefix)
	if !ours { // from before the stream was the log's
		name = ""
	}
	topic, invalid := event.ParseTopic(name)
	typ := event.TypeOf(topic)
	if name := header.Get(typeHeader); name != "" && invalid == nil {
		typ, invalid = event.ParseType(name)
	}
	if invalid == nil {
		e, invalid = event.New(topic, typ, string(data))
	}
	return e.Stored(event.NewID(l.epoch, seq), at), invalid
}
