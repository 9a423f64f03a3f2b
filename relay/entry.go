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

// entry returns the entry for an event of the source; nil if the log cannot store it. The error is a refusal to go on. lastID is that of the
// event before, or where the stream was resumed.
func (r *relay) entry(e client.Event, lastID string) (*eventlog.Entry, error) {
	if len(e.ID) > maxID {
		return nil, &client.Error{Status: http.StatusOK, Message: fmt.Sprintf("an event ID of the source has %d bytes, and the log stores at most %d", len(e.ID), maxID)}
	}
	switch {
	case e.OwnID && e.ID == lastID: // some servers begin with the last event
		return nil, nil
	case e.TooLong:
		r.skip("it is larger than --max-body")
		return nil, nil
	case e.Gap != nil:
		r.gap(e.Gap)
		return nil, nil
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
	// Two nodes may follow the source for a moment, if one of them was frozen. The key makes the log keep one of their events.
	if e.OwnID && r.cfg.Leases != nil {
		entry.Key = digest(r.origin + " " + e.ID)[:32]
	}
	return entry, nil
}
