package eventlog

import (
	"context"
	"errors"
	"math"
	"net/url"
	"strings"

	"freshet/event"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Origin says which event of which other stream an event is.
type Origin struct {
	Source string // a name of the source, without a space
	ID     string // the source's event ID, of at most 4 KiB
}

const (
	originHeader = "Event-Origin"
	// originSearch is how many of a topic's newest events are searched for an origin, where others publish to the topic too.
	originSearch = 10_000
	lineSearch   = 1_000 // for the line of a publisher
)

func (o Origin) header() string { return o.Source + " " + url.QueryEscape(o.ID) }

// originOf returns the zero Origin if the message has none.
func originOf(header []byte) Origin {
	h, err := nats.DecodeHeadersMsg(header)
	if err != nil {
		return Origin{}
	}
	source, escaped, _ := strings.Cut(h.Get(originHeader), " ")
	id, err := url.QueryUnescape(escaped)
	if err != nil {
		return Origin{}
	}
	return Origin{source, id}
}

// LastOrigin returns the origin's ID of the newest event of the topic that comes from the source. It looks at the topic's newest 10,000
// events; ok is false if none of them comes from there. With the embedded log, no append of this process that has ended without an answer
// is stored later than that.
func (l *Log) LastOrigin(ctx context.Context, topic event.Topic, source string) (id string, ok bool, err error) {
	if err := l.settle(ctx, subjectPrefix+topic.String()); err != nil {
		return "", false, err
	}
	return l.lastOrigin(ctx, topic, source, originSearch)
}

func (l *Log) lastOrigin(ctx context.Context, topic event.Topic, source string, search int) (id string, ok bool, err error) {
	subject := subjectPrefix + topic.String()
	m, err := l.getMessage(ctx, streamName, messageRequest{LastFor: subject})
	if err != nil {
		return "", false, err
	}
	if m == nil {
		_, err := l.lastOf(ctx, streamName, subject) // an error if the log has the event, but cannot read it
		return "", false, err
	}
	if o := originOf(m.Header); o.Source == source {
		return o.ID, true, nil
	}
	state, err := l.State(ctx)
	if err != nil {
		return "", false, err
	}
	after, err := l.seekNewest(ctx, state, search, event.Patterns{topic.Pattern()})
	for err == nil && after < m.Seq {
		var next *message
		if next, err = l.getMessage(ctx, streamName, messageRequest{Seq: after + 1, NextFor: subject}); err != nil {
			break
		}
		if next == nil {
			return "", false, errUnproven // there is at least the newest
		}
		if o := originOf(next.Header); o.Source == source {
			id, ok = o.ID, true
		}
		after = next.Seq
	}
	return id, ok, err
}

// settle waits until one server has stored or refused each message that this process has sent: JetStream answers a message only after those
// that were sent before on the same connection. This message is never stored, because no stream has the sequence that it expects.
func (l *Log) settle(ctx context.Context, subject string) error {
	ctx, cancel := l.withAppendTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := l.js.PublishMsg(ctx, nats.NewMsg(subject), jetstream.WithExpectStream(streamName), jetstream.WithExpectLastSequence(math.MaxInt64))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return nil
	}
	return wrapError(err)
}
