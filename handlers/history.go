package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"freshet/event"
	"freshet/hub"

	"github.com/gin-gonic/gin"
)

const (
	defaultPageEvents = 100
	maxPageEvents     = 1000
	maxPageBytes      = 1 << 20
	// maxPages bounds the memory of pages that slow clients have not read. maxAddressPages keeps one client from using
	// them all.
	maxPages        = 64
	maxAddressPages = 16
	pageWait        = 10 * time.Second // for one of maxPages
)

// historyPage is the response of GET /history.
type historyPage struct {
	Events []json.RawMessage `json:"events"`
	Cursor event.ID          `json:"cursor"` // where the next page begins
	More   bool              `json:"more"`   // the next page has events now
}

// history serves GET /history: a page of stored events, oldest first. A page has the events that a stream would send,
// including a gap.
func (h *Handlers) history(c *gin.Context) error {
	if err := h.authenticateTicket(c); err != nil {
		return err
	}
	patterns, _, _, err := h.parseTopics(c)
	if err != nil {
		return err
	}
	_, since, err := parsePosition(c)
	if err != nil {
		return err
	}
	if (since == event.Since{}) {
		since.All = true
	}
	limit := defaultPageEvents
	if text := c.Query("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPageEvents {
			return &event.InvalidError{Field: "limit", Reason: fmt.Sprintf("must be from 1 to %d", maxPageEvents)}
		}
	}
	address := networkOf(c)
	if !h.addressPages.Acquire(address, 1) {
		return errAddressPages
	}
	defer h.addressPages.Release(address, 1)
	select {
	case h.pages <- struct{}{}:
		defer func() { <-h.pages }()
	case <-c.Request.Context().Done():
		return c.Request.Context().Err()
	case <-time.After(pageWait):
		return errPages
	}
	sub, err := h.hub.Subscribe(c.Request.Context(), hub.Request{
		Patterns: patterns, LastEventID: c.Query("cursor"), Since: since, Continue: true, Wake: func() {},
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	page, err := readPage(c.Request.Context(), sub, limit)
	if err != nil {
		return err
	}
	sendPage(c, page)
	return nil
}

func readPage(ctx context.Context, sub *hub.Subscriber, limit int) (historyPage, error) {
	page, size := historyPage{Events: []json.RawMessage{}}, 0
	for {
		// Read the log, not the window, which may be behind: a publisher finds its event here after the response 201.
		entries, err := sub.Replay(ctx)
		if err != nil {
			return page, err
		}
		for _, e := range entries {
			if len(page.Events) == limit || size >= maxPageBytes {
				page.More = true
				return page, nil
			}
			line := event.Lines.AppendEvent(nil, e.Event)
			page.Events = append(page.Events, line)
			page.Cursor = e.Event.ID()
			size += len(line)
		}
		if len(entries) == 0 {
			page.Cursor = sub.Cursor()
			return page, nil
		}
	}
}

// sendPage sends the page as JSON, or as NDJSON: a line for each event, then one for the cursor.
func sendPage(c *gin.Context, page historyPage) {
	c.Header("Cache-Control", "no-store")
	if formatOf(c) == event.Lines {
		lines := slices.Concat(page.Events...)
		c.Data(http.StatusOK, event.Lines.ContentType(), event.Lines.AppendCursor(lines, page.Cursor, 0))
		return
	}
	c.PureJSON(http.StatusOK, page)
}
