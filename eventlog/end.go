package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"freshet/event"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How the log says that a topic has ended (docs/decisions/0030):
//
//   - The topic's last message has the header Freshet-Mark: end. Readers get it as [event.End].
//   - In the same batch the log stores a fence: an empty message on a subject that belongs to the topic, and is no topic.
//   - An append has the condition that its topic has no fence, so JetStream refuses it after the end. The condition is
//     left out while this node knows that the topic is open.
const (
	markHeader   = "Freshet-Mark"
	markEnd      = "end"
	markPurged   = "purged"
	endKeyHeader = "Freshet-Key"
	fencePrefix  = subjectPrefix + "/end." // no segment of a topic has a slash
)

// errContended: JetStream has stored nothing, because another append to the topic was in flight.
var errContended = errors.New("another append to the topic is in flight")

// contendedPause is how long an append waits for another one to its topic, which takes a round of the cluster.
const contendedPause = 2 * time.Millisecond

// codeContended is the error of the JetStream API for a condition on a subject that other messages in flight have.
const codeContended jetstream.ErrorCode = 10164

// expectOpen sets the condition that the topic has not ended.
func expectOpen(m *nats.Msg, topic event.Topic) {
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, fencePrefix+topic.String())
}

// message returns the entry as a message, with the condition that its topic has not ended unless this node knows that.
func (l *Log) message(entry Entry) *nats.Msg {
	m := encode(entry)
	l.setTTL(m, entry.Event.Topic(), entry.Event.TTL())
	switch topic := entry.Event.Topic(); {
	case entry.After != nil: // the caller knows that the event there is not the topic's end
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(*entry.After, 10))
	case !l.openTopics.has(topic):
		expectOpen(m, topic)
	}
	return m
}

// appendError is wrapError for an append of the entry: JetStream refuses a condition with these codes.
func appendError(entry Entry, err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch {
		case api.ErrorCode == codeContended:
			return errContended
		case api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence:
		case entry.After != nil:
			return ErrMoved
		default:
			return ErrEnded
		}
	}
	return wrapError(err)
}

// stored returns the receipt of a message that JetStream has stored, and that was sent after the generation. Without the condition, the message may have come after the topic's
// end: then the receipt has [ErrEnded]. On the node that ends the topic that is certain: the topic is no longer known as open before
// JetStream stores the end. Other nodes know of the end a moment later.
func (l *Log) stored(ctx context.Context, entry Entry, m *nats.Msg, before generation, seq uint64) Receipt {
	topic, receipt := entry.Event.Topic(), Receipt{ID: event.NewID(l.epoch, seq)}
	switch {
	case m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) != "":
		l.openTopics.add(topic, before)
	case !l.openTopics.has(topic):
		fence, err := l.lastOf(ctx, streamName, fencePrefix+topic.String())
		if err == nil && 0 < fence && fence < seq {
			err = ErrEnded
		}
		receipt.Err = err
	}
	return receipt
}

// End appends the entries, which have the topic and no keys, and then ends the topic. All of that is stored, or nothing. When the end expires, after the TTL or
// with its Retention, the topic is open again. The [Receipt] is
// that of the end: its ID is that of [event.End], and its Err is [ErrEnded] if the topic has ended before. If it has ended with the same
// key, the receipt is a repeat.
func (l *Log) End(ctx context.Context, topic event.Topic, key string, ttl event.TTL, last ...Entry) Receipt {
	began := time.Now()
	receipt := l.end(ctx, topic, key, ttl, last)
	l.counters.count(began, receipt)
	return receipt
}

func (l *Log) end(ctx context.Context, topic event.Topic, key string, ttl event.TTL, last []Entry) Receipt {
	defer l.openTopics.closing(topic)()
	for {
		messages := l.endMessages(topic, key, ttl, last)
		if l.traceOf != nil {
			for _, m := range messages[:len(messages)-1] {
				setTrace(m.Header, l.traceOf(ctx))
			}
		}
		first, err := l.commit(ctx, messages)
		if api, ok := errors.AsType[*jetstream.APIError](err); ok {
			err = appendError(Entry{}, api)
		}
		receipt := Receipt{ID: event.NewID(l.epoch, first+uint64(len(last))), Err: err}
		if errors.Is(err, ErrEnded) { // or an entry's After is not the newest
			receipt = l.endBefore(ctx, topic, key)
			if errors.Is(receipt.Err, errContended) && len(last) > 0 && last[0].After != nil {
				receipt.Err = ErrMoved
			}
		}
		if !errors.Is(receipt.Err, errContended) {
			return receipt
		}
		if err := pause(ctx, contendedPause); err != nil {
			return Receipt{Err: wrapError(err)}
		}
	}
}

// endMessages returns the entries, the mark and, last, the fence.
func (l *Log) endMessages(topic event.Topic, key string, ttl event.TTL, last []Entry) (messages []*nats.Msg) {
	for _, entry := range last {
		messages = append(messages, l.message(entry))
	}
	mark := nats.NewMsg(subjectPrefix + topic.String())
	mark.Header.Set(typeHeader, event.TypeEnd.String())
	mark.Header.Set(markHeader, markEnd)
	if key != "" {
		mark.Header.Set(endKeyHeader, key)
	}
	fence := nats.NewMsg(fencePrefix + topic.String())
	expectOpen(fence, topic)
	l.setTTL(mark, topic, ttl)
	l.setTTL(fence, topic, ttl) // it is the newer one, so it expires last
	return append(messages, mark, fence)
}

// endBefore returns the receipt for a topic that has ended before: a repeat if it ended with this key.
func (l *Log) endBefore(ctx context.Context, topic event.Topic, key string) Receipt {
	seq, err := l.Ended(ctx, topic)
	if err != nil {
		return Receipt{Err: err}
	}
	if seq == 0 { // purged since
		return Receipt{Err: errContended}
	}
	mark, err := l.getMessage(ctx, streamName, messageRequest{Seq: seq})
	if err != nil {
		return Receipt{Err: err}
	}
	if header, err := nats.DecodeHeadersMsg(mark.header()); err == nil && key != "" && header.Get(endKeyHeader) == key {
		return Receipt{ID: event.NewID(l.epoch, seq), Repeat: true}
	}
	return Receipt{Err: ErrEnded}
}

// Ended returns the sequence of the topic's end, 0 if it has not ended. The error is the log's.
func (l *Log) Ended(ctx context.Context, topic event.Topic) (seq uint64, err error) {
	if l.openTopics.has(topic) {
		return 0, nil
	}
	before := l.openTopics.current()
	switch fence, err := l.lastOf(ctx, streamName, fencePrefix+topic.String()); {
	case err != nil:
		return 0, err
	case fence > 0:
		return fence - 1, nil // the two are in one batch
	}
	l.openTopics.add(topic, before)
	return 0, nil
}

// Purge deletes the topic's events, and its end if it has ended: then it is open again. Readers get [event.Purged] in their place. It
// returns that gap's ID, and how many events were deleted; the zero ID if there were none. If it fails, some may be deleted: another call deletes the rest.
func (l *Log) Purge(ctx context.Context, topic event.Topic) (id event.ID, deleted uint64, err error) {
	if err := l.writeError(); err != nil {
		return event.ID{}, 0, err
	}
	subject, fence := subjectPrefix+topic.String(), fencePrefix+topic.String()
	last, err := l.lastOf(ctx, streamName, subject)
	if err != nil || last == 0 {
		return event.ID{}, 0, err
	}
	ctx, cancel := l.withAppendTimeout(ctx, 2*answerTimeout)
	defer cancel()
	mark := nats.NewMsg(subject)
	mark.Header.Set(typeHeader, event.TypeGap.String())
	mark.Header.Set(markHeader, markPurged)
	l.setTTL(mark, topic, event.TTL{})
	if err := l.expectExpiry(ctx, mark); err != nil {
		return event.ID{}, 0, err
	}
	ack, err := l.js.PublishMsg(ctx, mark, jetstream.WithExpectStream(streamName))
	err = wrapError(err)
	if l.logStoring(err); err != nil {
		return event.ID{}, 0, err
	}
	id = event.NewID(l.epoch, ack.Sequence)
	l.lastAcked.record(id)
	err = l.expectHoles(ctx, func() (err error) {
		// The fence goes last: until then the topic is closed, so nobody's new events are deleted.
		if deleted, err = l.purge(ctx, subject, ack.Sequence); err == nil {
			_, err = l.purge(ctx, fence, ack.Sequence)
		}
		return err
	})
	if err != nil {
		return event.ID{}, 0, err
	}
	return id, deleted, nil
}

// purge deletes the messages of the subject below the sequence, and returns how many there were.
func (l *Log) purge(ctx context.Context, subject string, below uint64) (uint64, error) {
	var response struct {
		Purged uint64              `json:"purged"`
		Error  *jetstream.APIError `json:"error"`
	}
	err := l.request(ctx, purgeSubject+streamName, map[string]any{"filter": subject, "seq": below}, &response)
	if err == nil && response.Error != nil {
		err = fmt.Errorf("delete the events of a topic: %w", wrapError(response.Error))
	}
	return response.Purged, err
}
