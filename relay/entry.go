package relay

import (
	"fmt"
	"net/http"
	"strings"

	"freshet/client"
	"freshet/event"
	"freshet/eventlog"
)

// maxID is the longest ID of a source, in bytes, that the log stores.
const maxID = 4 << 10

// Types of events that stand for a gap of the source, and for its own events of type end: gap and end are reserved for this server's streams.
const (
	gapType = "source-gap"
	endType = "source-end"
)

// entry returns the entry for an event of the source; nil if the log cannot store it. The error is a refusal to go on. lastID is that of the
// event before, or where the stream was resumed.
//
// A gap of the source is stored too, as an event of type source-gap: the readers of the topic miss the same events.
func (r *relay) entry(e client.Event, lastID string) (*eventlog.Entry, error) {
	if len(e.ID) > maxID {
		return nil, &client.Error{Status: http.StatusOK, Message: fmt.Sprintf("an event ID of the source has %d bytes, and the log stores at most %d", len(e.ID), maxID)}
	}
	if e.TooLong {
		r.skip("it is larger than --max-body")
		return nil, nil
	}
	if e.Gap != nil {
		r.gap(e.Gap)
		e.Type = gapType
	}
	if e.Type == event.TypeEnd.String() {
		e.Type = endType
	}
	typ, err := event.ParseType(strings.ToValidUTF8(e.Type, "\ufffd"))
	if err != nil {
		r.skip("its type " + err.Error())
		return nil, nil
	}
	stored, err := event.New(r.source.Topic, typ, strings.ToValidUTF8(e.Data, "\ufffd"))
	if err != nil {
		r.skip(err.Error())
		return nil, nil
	}
	entry := &eventlog.Entry{Event: stored}
	if e.ID != "" {
		entry.Origin = eventlog.Origin{Source: r.origin, ID: e.ID}
	}
	// Two nodes may follow the source for a moment, if one of them was frozen. The key makes the log keep one of their events. If several events
	// of the source have one ID, only the first has a key.
	if e.OwnID && e.ID != lastID && r.cfg.Leases != nil {
		entry.Key = digest(fmt.Sprintf("%q", []string{r.origin, e.ID, e.Type, e.Data}))[:32]
	}
	return entry, nil
}
