package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"freshet/event"
	"freshet/hub"

	"github.com/gin-gonic/gin"
)

const (
	defaultPageEvents = 100
	maxPageEvents     = 1000
	maxPageBytes      = 1 << 20
	maxAddressPages   = 16               // keeps the requests of one client few
	pageWait          = 10 * time.Second // for the first events
)

// history serves GET /history: a page of stored events, oldest first. A page has the events that a stream would send,
// including a gap. If the log fails in the middle of a page, the connection is cut.
func (h *Handlers) history(c *gin.Context) error {
	if err := h.authenticateTicket(c); err != nil {
		return err
	}
	patterns, _, _, err := h.parseTopics(c)
	if err != nil {
		return err
	}
	since, err := event.ParseSince(c.Query("since"), time.Now())
	if err != nil {
		return err
	}
	if (since == event.Since{}) {
		since.All = true
	}
	limit, err := parseLimit(c, defaultPageEvents, maxPageEvents)
	if err != nil {
		return err
	}
	address := networkOf(c)
	if !h.addressPages.Acquire(address, 1) {
		return errAddressPages
	}
	defer h.addressPages.Release(address, 1)
	sub, err := h.hub.Subscribe(c.Request.Context(), hub.Request{
		Patterns: patterns, LastEventID: c.Query("cursor"), Since: since, Continue: true,
		Format: event.Lines, Network: address, Wake: func() {},
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	return sendPage(c, sub, limit)
}

// sendPage sends the events as they are read, so that a page takes no more memory than a piece of a replay.
func sendPage(c *gin.Context, sub *hub.Subscriber, limit int) error {
	// Read the log, not the window, which may be behind: a publisher finds its event here after the response 201.
	entries, err := firstEntries(c.Request.Context(), sub)
	if err != nil {
		return err
	}
	page := beginPage(c)
	for size := 0; len(entries) > 0; {
		for _, e := range entries {
			if page.events == limit || size >= maxPageBytes {
				page.end(page.last, true)
				return nil
			}
			page.add(e)
			size += len(e.Encoded(event.Lines).Bytes)
		}
		if entries, err = sub.Replay(c.Request.Context()); err != nil {
			_ = c.Error(err)            // for the request log
			panic(http.ErrAbortHandler) // the client must not take this for a whole page
		}
	}
	page.end(sub.Cursor(), false)
	return nil
}

// firstEntries waits no longer than pageWait.
func firstEntries(ctx context.Context, sub *hub.Subscriber) ([]*hub.Entry, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pageWait, errPages)
	defer cancel()
	entries, err := sub.Replay(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errPages) {
		return nil, errPages
	}
	return entries, err
}

// page is the response of GET /history: a JSON object, or in NDJSON a line for each event and one for the cursor.
type page struct {
	out    io.Writer
	lines  bool
	events int
	last   event.ID
}

func beginPage(c *gin.Context) *page {
	p := &page{out: c.Writer, lines: formatOf(c) == event.Lines}
	c.Header("Cache-Control", "no-store")
	if p.lines {
		c.Header("Content-Type", event.Lines.ContentType())
	} else {
		c.Header("Content-Type", "application/json; charset=utf-8")
	}
	c.Status(http.StatusOK)
	if !p.lines {
		p.write([]byte(`{"events":[`))
	}
	return p
}

func (p *page) add(e *hub.Entry) {
	line := e.Encoded(event.Lines).Bytes
	if !p.lines {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if p.events > 0 {
			p.write([]byte(","))
		}
	}
	p.write(line)
	p.events++
	p.last = e.Event.ID()
}

// end adds the cursor where the next page begins, and whether that page has events now.
func (p *page) end(cursor event.ID, more bool) {
	if p.lines {
		p.write(event.Lines.AppendCursor(nil, cursor, 0))
		return
	}
	p.write(fmt.Appendf(nil, "],\"cursor\":%q,\"more\":%t}\n", cursor, more))
}

// write ends the request if the client does not take the page.
func (p *page) write(b []byte) {
	if _, err := p.out.Write(b); err != nil {
		panic(http.ErrAbortHandler)
	}
}
