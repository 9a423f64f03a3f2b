package handlers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"freshet/event"
	"freshet/hub"

	"github.com/gin-gonic/gin"
)

// How many events a page of history has.
const (
	pageEvents    = 100
	maxPageEvents = 1000
	maxPageBytes  = 1 << 20
	// Pages answered at once, so that readers who take nothing cannot fill the memory; and
	// those of one address, so that such a reader does not keep the others waiting.
	maxPages        = 64
	maxAddressPages = 16
	pageWait        = 10 * time.Second // at most, to be among them
)

// historyPage is the answer of GET /history.
type historyPage struct {
	Events []json.RawMessage `json:"events"`
	Cursor event.ID          `json:"cursor"` // of the next page
	More   bool              `json:"more"`   // the next page has events already
}

// history serves GET /history: stored events, oldest first, a page at a time. A page is
// what a stream would send, cut off; so a gap is told here too, as an event of type gap.
func (h *Handlers) history(c *gin.Context) {
	if err := h.authenticateTicket(c); err != nil {
		fail(c, err)
		return
	}
	patterns, _, _, err := h.parseTopics(c)
	if err != nil {
		fail(c, err)
		return
	}
	_, since, err := parsePosition(c)
	if err != nil {
		fail(c, err)
		return
	}
	if (since == event.Since{}) {
		since.All = true
	}
	limit := pageEvents
	if text := c.Query("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPageEvents {
			fail(c, &event.InvalidError{Field: "limit", Reason: "must be from 1 to " + strconv.Itoa(maxPageEvents)})
			return
		}
	}
	address := networkOf(c)
	if !h.readers.Acquire(address) {
		fail(c, errPages)
		return
	}
	defer h.readers.Release(address)
	select {
	case h.pages <- struct{}{}:
		defer func() { <-h.pages }()
	case <-c.Request.Context().Done():
		fail(c, c.Request.Context().Err())
		return
	case <-time.After(pageWait):
		fail(c, errHistory)
		return
	}
	sub, err := h.hub.Subscribe(c.Request.Context(), hub.Request{
		Patterns: patterns, LastEventID: c.Query("cursor"), Since: since, Wake: func() {},
	})
	if err != nil {
		fail(c, err)
		return
	}
	defer sub.Close()

	page, size := historyPage{Events: []json.RawMessage{}}, 0
	for {
		// From the log, not the window: whoever was answered 201 finds the event here.
		entries, err := sub.Replay(c.Request.Context())
		if err != nil {
			fail(c, err)
			return
		}
		for _, e := range entries {
			if len(page.Events) == limit || size >= maxPageBytes {
				page.More = true
				break
			}
			line := event.Lines.AppendEvent(nil, e.Event)
			page.Events = append(page.Events, line)
			page.Cursor = e.Event.ID()
			size += len(line)
		}
		if page.More {
			break
		}
		if len(entries) == 0 {
			page.Cursor = sub.Cursor()
			break
		}
	}
	h.sendPage(c, page)
}

// sendPage answers with the page as JSON, or as NDJSON: a line an event, then the cursor.
func (h *Handlers) sendPage(c *gin.Context, page historyPage) {
	c.Header("Cache-Control", "no-store") // it is for this caller, and grows
	if formatOf(c) == event.Lines {
		var lines []byte
		for _, line := range page.Events {
			lines = append(lines, line...)
		}
		c.Data(http.StatusOK, "application/x-ndjson", event.Lines.AppendCursor(lines, page.Cursor, 0))
		return
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(page); err != nil {
		fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json; charset=utf-8", body.Bytes())
}
