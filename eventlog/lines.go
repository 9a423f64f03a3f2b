package eventlog

import (
	"context"
	"net/url"
	"strconv"

	"freshet/event"

	"github.com/nats-io/nats.go"
)

// Lines is how far a publisher's lines are in the log, which stores the number of the last one with each event.
type Lines struct {
	Stored uint64 // the lines up to this one are stored
	Newest uint64 // the sequence of the topic's newest event, which the next one follows; 0: there is none
	Ended  bool   // the topic has ended
}

// LineOrigin is the Origin of an event with the publisher's lines up to this one.
func LineOrigin(key string, line uint64) Origin {
	return Origin{Source: "line:" + url.QueryEscape(key), ID: strconv.FormatUint(line, 10)}
}

// LinesOf returns how far the lines with the key are. It looks at the topic's newest 1,000 events.
func (l *Log) LinesOf(ctx context.Context, topic event.Topic, key string) (lines Lines, err error) {
	subject := subjectPrefix + topic.String()
	newest, err := l.getMessage(ctx, streamName, messageRequest{LastFor: subject})
	if err != nil {
		return Lines{}, err
	}
	if newest == nil {
		_, err := l.lastOf(ctx, streamName, subject) // an error if the log has the event, but cannot read it
		return Lines{}, err
	}
	lines.Newest = newest.Seq
	if header, err := nats.DecodeHeadersMsg(newest.Header); err == nil {
		lines.Ended = header.Get(markHeader) == markEnd
	}
	text, ok, err := l.lastOrigin(ctx, topic, LineOrigin(key, 0).Source, lineSearch)
	if ok {
		lines.Stored, err = strconv.ParseUint(text, 10, 64)
	}
	return lines, err
}
