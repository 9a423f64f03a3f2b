package handlers

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"

	"github.com/gin-gonic/gin"
)

// parseTopics parses the topics of the path and the query: patterns into the log, and whether the built-in topics are
// among them. It refuses topics that the caller may not read. Without topics, the request is for everything that the
// caller may read, and the counter.
func (h *Handlers) parseTopics(c *gin.Context) (patterns event.Patterns, counter, stats bool, err error) {
	caller := auth.FromContext(c.Request.Context())
	names := c.QueryArray("topic")
	if name := c.Param("topic"); name != "" {
		names = append(names, name)
	}
	if most := h.cfg.MaxTopics; most > 0 && len(names) > most {
		return nil, false, false, &event.InvalidError{Field: "topic", Reason: fmt.Sprintf("may occur at most %d times; use a pattern like orders.* instead", most)}
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
		case err != nil && strings.Contains(name, ","):
			return nil, false, false, &event.InvalidError{Field: "topic", Reason: "must not have a comma; for several topics, repeat the parameter: ?topic=a&topic=b"}
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

// parsePosition parses where a stream starts: the last event ID, under any name that clients use, and since.
func parsePosition(c *gin.Context) (lastEventID string, since event.Since, err error) {
	lastEventID = c.GetHeader("Last-Event-ID")
	for _, name := range lastEventIDs {
		lastEventID = cmp.Or(lastEventID, c.Query(name))
	}
	since, err = event.ParseSince(c.Query("since"), time.Now())
	return lastEventID, since, err
}

// separators are the values of the parameters join and merge: what comes between data that is joined.
var separators = map[string]string{"text": "", "lines": "\n"}

// separatorOf returns nil if the parameter was not sent: then the data stays apart. valid is false if it has another value than separators.
func separatorOf(c *gin.Context, parameter string) (separator *string, valid bool) {
	name, sent := c.GetQuery(parameter)
	if !sent {
		return nil, true
	}
	text, valid := separators[name]
	return &text, valid
}

// formatOf returns the format that the request accepts.
func formatOf(c *gin.Context) event.Format {
	if strings.Contains(c.GetHeader("Accept"), event.Lines.ContentType()) {
		return event.Lines
	}
	return event.Frames
}
