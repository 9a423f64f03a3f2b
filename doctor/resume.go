package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"freshet/event"
)

const (
	resumeTime = 5 * time.Second
	// lostID is not an ID of any log, so Freshet reports a gap with it.
	lostID = "freshet-doctor"
)

// resume checks that the last event ID arrives at the server. For other servers than Freshet, the finding is empty.
func (x *examination) resume(ctx context.Context) Finding {
	if !x.report.Freshet {
		return Finding{}
	}
	u := x.topic(quietTopic)
	query := u.Query()
	query.Set("last_event_id", lostID)
	byQuery := *u
	byQuery.RawQuery = query.Encode()
	accept := http.Header{"Accept": {eventStream}}
	inQuery := async(func() bool { return x.gap(ctx, &byQuery, accept) })
	header, parameter := x.gap(ctx, u, with(accept, "Last-Event-ID", lostID)), <-inQuery
	switch {
	case header && parameter:
		return Finding{"resume", OK, "the last event ID arrives, in the header and in the query", nil}
	case parameter:
		return Finding{"resume", Fail, "the header Last-Event-ID does not reach the server: pages lose events when they reconnect", x.advise(lostHeader)}
	case header:
		return Finding{"resume", Fail, "the query does not reach the server: topics and last_event_id have no effect; let the proxy pass the whole URL on, and caches distinguish it", nil}
	}
	return Finding{"resume", Skip, fmt.Sprintf("no answer to a last event ID arrived in %s", short(resumeTime)), nil}
}

// gap reports whether the stream begins with a gap for the lost ID.
func (x *examination) gap(ctx context.Context, u *url.URL, header http.Header) (found bool) {
	x.each(ctx, u, header, func(f event.Frame) bool {
		var gap event.Gap
		found = f.Type == "gap" && json.Unmarshal([]byte(f.Data), &gap) == nil && gap.Requested == lostID
		return !found
	})
	return found
}

// each reads the stream for a moment, until more returns false.
func (x *examination) each(ctx context.Context, u *url.URL, header http.Header, more func(event.Frame) bool) {
	ctx, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	r, err := x.request(ctx, http.MethodGet, u, header)
	if err != nil {
		return
	}
	response, err := x.http.Do(r)
	if err != nil {
		return
	}
	defer func() { _ = response.Body.Close() }() // nothing can be done about it
	for frames := event.NewScanner(response.Body, maxFrame); frames.Scan() && more(frames.Frame()); {
	}
}

// resumeElsewhere asks a server that is not Freshet to resume after the first ID that was seen: the second one has to follow.
func (x *examination) resumeElsewhere(ctx context.Context, w watched) Finding {
	var ids []string
	for _, f := range w.frames {
		if f.HasID && f.HasData && f.ID != "" && (len(ids) == 0 || f.ID != ids[0]) {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) < 2 {
		return Finding{"resume", Skip, fmt.Sprintf("%s with an ID of its own arrived, and two are needed", number(len(ids), "event")), nil}
	}
	next := ""
	x.each(ctx, x.url, http.Header{"Accept": {eventStream}, "Last-Event-Id": {ids[0]}}, func(f event.Frame) bool {
		if f.HasID && f.HasData {
			next = f.ID
		}
		return next == ""
	})
	if next == ids[1] {
		return Finding{"resume", OK, "the stream resumes after the last event ID", nil}
	}
	return Finding{"resume", Warn, "after the ID of an event, the stream does not continue with the next one: the server does not resume, or the header Last-Event-ID does not reach it", x.advise(lostHeader)}
}
