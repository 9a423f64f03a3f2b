package eventlog

import (
	"context"
	"slices"

	"freshet/event"

	"github.com/nats-io/nats.go"
)

// Headers of W3C Trace Context, in the spellings that NATS clients use: NATS compares names exactly, and Go's http.Header capitalizes them.
var (
	traceParentHeaders = [...]string{"traceparent", "Traceparent"}
	traceStateHeaders  = [...]string{"tracestate", "Tracestate"}
)

// tracedEntries returns the entries with the trace of their append. The caller's slice stays as it is.
func (l *Log) tracedEntries(ctx context.Context, entries []Entry) []Entry {
	if l.traceOf == nil {
		return entries
	}
	trace := l.traceOf(ctx)
	if trace.IsZero() {
		return entries
	}
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Event = entries[i].Event.Traced(trace)
	}
	return entries
}

func setTrace(header nats.Header, trace event.Trace) {
	if trace.IsZero() {
		return
	}
	header.Set(traceParentHeaders[0], trace.Parent())
	if state := trace.State(); state != "" {
		header.Set(traceStateHeaders[0], state)
	}
}

// traceOf returns the zero Trace if the message has none, or several: then nobody knows which one counts.
func traceOf(header nats.Header) event.Trace {
	parent, state := only(header, traceParentHeaders), only(header, traceStateHeaders)
	if parent == "" {
		return event.Trace{}
	}
	return event.ParseTrace(parent, state)
}

// only returns the header's value if there is one value under all of its names.
func only(header nats.Header, names [2]string) (value string) {
	first, second := header[names[0]], header[names[1]]
	switch {
	case len(first) == 1 && len(second) == 0:
		return first[0]
	case len(first) == 0 && len(second) == 1:
		return second[0]
	}
	return ""
}
