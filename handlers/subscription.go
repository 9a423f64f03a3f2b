package handlers

import (
	"cmp"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"

	"github.com/gin-gonic/gin"
)

// parseTopics reads the route's topic and the query's: patterns into the log, and whether
// the built-in topics are asked for by name. The caller may read all of them. A request
// without topics asks for everything that the caller may read, and the counter.
func (h *Handlers) parseTopics(c *gin.Context) (patterns event.Patterns, counter, stats bool, err error) {
	caller := auth.FromContext(c.Request.Context())
	names := c.QueryArray("topic")
	if name := c.Param("topic"); name != "" {
		names = append(names, name)
	}
	if most := h.cfg.MaxTopics; most > 0 && len(names) > most {
		return nil, false, false, &event.InvalidError{Field: "topic", Reason: "too many topics; subscribe to a pattern like orders.* instead"}
	}
	if err := caller.MayReadAnything(); err != nil {
		return nil, false, false, err
	}
	for _, name := range names {
		p, err := event.ParsePattern(name)
		if err == nil {
			err = caller.MayRead(p)
		}
		switch {
		case err != nil:
			return nil, false, false, err
		case name == event.TopicCounter.String():
			counter = true
		case name == event.TopicStats.String():
			stats = true
		default:
			patterns = append(patterns, p)
		}
	}
	if len(names) == 0 {
		return caller.Readable(), true, false, nil
	}
	return patterns, counter, stats, nil
}

// parsePosition reads where a client starts: its last event ID, in any of the ways that
// clients send it, and since.
func parsePosition(c *gin.Context) (lastEventID string, since event.Since, err error) {
	lastEventID = c.GetHeader("Last-Event-ID")
	for _, name := range []string{"last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"} {
		lastEventID = cmp.Or(lastEventID, c.Query(name))
	}
	since, err = event.ParseSince(c.Query("since"), time.Now())
	return lastEventID, since, err
}

// formatOf is the format that the request accepts.
func formatOf(c *gin.Context) event.Format {
	if strings.Contains(c.GetHeader("Accept"), event.Lines.ContentType()) {
		return event.Lines
	}
	return event.Frames
}
