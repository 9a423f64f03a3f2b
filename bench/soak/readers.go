package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"freshet/client"
	"freshet/event"
)

// readSteadily reads the pattern until ctx is done. The server must never disconnect it, and it
// must never get a gap.
func (l *load) readSteadily(ctx context.Context, pattern string, opened func(), reached *atomic.Uint64) error {
	r, err := l.reading.Open(ctx, subscription(pattern, "", event.ID{}))
	if err != nil {
		return err
	}
	defer r.Close()
	c := newChecker(pattern == ">")
	c.fromFirst = true
	for {
		frame, err := r.Next()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the steady reader of %s at %v: %w", pattern, c.last, err)
		}
		if err := c.check(frame.Frame); err != nil {
			return fmt.Errorf("the steady reader of %s: %w", pattern, err)
		}
		if c.gaps > 0 {
			return fmt.Errorf("the steady reader of %s got a gap: %s", pattern, frame.Data)
		}
		if frame.HasData {
			l.seen.Add(1)
		}
		if reached.Swap(c.last.Seq()) == 0 {
			opened()
		}
	}
}

// subscription reads an event stream. Its frames are checked one by one, so nothing else may end it.
func subscription(pattern, since string, last event.ID) client.Subscription {
	s := client.Subscription{Topics: []string{pattern}, Since: since, Heartbeat: -1, Header: http.Header{"Accept": {"text/event-stream"}}}
	if !last.IsZero() {
		s.LastEventID = last.String()
	}
	return s
}

// readAndReturn reads something for a while, leaves for a while, and resumes or reads something else.
func (l *load) readAndReturn(ctx context.Context) error {
	for ctx.Err() == nil {
		pattern, since := l.choose()
		c := newChecker(pattern == ">" && since != "last")
		for range 1 + rand.IntN(4) { //nolint:gosec // not a secret
			stay := time.Duration(rand.Int64N(int64(2 * time.Second))) //nolint:gosec // not a secret
			if err := l.visit(ctx, c, pattern, since, stay); err != nil {
				return fmt.Errorf("a reader of %s since %q: %w", pattern, since, err)
			}
			if !pause(ctx, time.Duration(rand.Int64N(int64(time.Second)))) { //nolint:gosec // not a secret
				return nil
			}
		}
	}
	return nil
}

// readSlowly reads a little, pauses, and reads on. Meanwhile the server may have closed the stream,
// and retention may have deleted the next events, for which the reader must get a gap.
func (l *load) readSlowly(ctx context.Context) error {
	c := newChecker(true)
	for ctx.Err() == nil {
		r, err := l.slow.Open(ctx, subscription(">", "all", c.last))
		if err != nil {
			return unlessDone(ctx, err)
		}
		l.opened.Add(1)
		for n := 1; ; n++ {
			frame, err := r.Next()
			if err != nil {
				l.disconnected.Add(1)
				break
			}
			if err := c.check(frame.Frame); err != nil {
				r.Close()
				return fmt.Errorf("a slow reader: %w", err)
			}
			if n%2000 == 0 && !pause(ctx, time.Duration(rand.Int64N(int64(45*time.Second)))) { //nolint:gosec // not a secret
				break
			}
		}
		r.Close()
		pause(ctx, 50*time.Millisecond)
	}
	l.gaps.Add(int64(c.gaps))
	return nil
}

// readWithExpiredIDs resumes after an event that was deleted long ago, and must get a gap.
func (l *load) readWithExpiredIDs(ctx context.Context) error {
	for pause(ctx, time.Second) {
		var page historyPage
		if err := l.history(ctx, "limit=1", &page); err != nil {
			return unlessDone(ctx, err)
		}
		if len(page.Events) == 0 || page.Events[0].ID.Seq() < 3 {
			continue // nothing has expired yet
		}
		first := page.Events[0].ID
		c := newChecker(true)
		c.last = event.NewID(first.Epoch(), 1)
		if err := l.visit(ctx, c, ">", "", 500*time.Millisecond); err != nil {
			return fmt.Errorf("a reader with an expired ID: %w", err)
		}
		if c.last.Seq() > 1 && c.gaps == 0 {
			return fmt.Errorf("the log begins at %v; a reader that resumed after sequence 1 is at %v and got no gap", first, c.last)
		}
		l.gaps.Add(int64(c.gaps))
	}
	return nil
}

// visit resumes where the checker is and reads for a time.
func (l *load) visit(ctx context.Context, c *checker, pattern, since string, stay time.Duration) error {
	r, err := l.reading.Open(ctx, subscription(pattern, since, c.last))
	if err != nil {
		return unlessDone(ctx, err)
	}
	defer r.Close()
	l.opened.Add(1)
	leaving := time.AfterFunc(stay, r.Close)
	defer leaving.Stop()
	for {
		frame, err := r.Next()
		if err != nil {
			if leaving.Stop() && ctx.Err() == nil {
				l.disconnected.Add(1) // the server is full
			}
			return nil
		}
		if err := c.check(frame.Frame); err != nil {
			return err
		}
	}
}

// readHistory reads page after page from the beginning.
func (l *load) readHistory(ctx context.Context) error {
	cursor := ""
	c := newChecker(true)
	for pause(ctx, 100*time.Millisecond) {
		var page historyPage
		if err := l.history(ctx, "limit=500&cursor="+cursor, &page); err != nil {
			return unlessDone(ctx, err)
		}
		for _, e := range page.Events {
			if err := c.check(event.Frame{Type: e.Type, Data: e.Data, HasData: true, ID: e.ID.String()}); err != nil {
				return fmt.Errorf("history: %w", err)
			}
		}
		l.pages.Add(1)
		if cursor = page.Cursor; !page.More {
			cursor, c = "", newChecker(true)
		}
	}
	return nil
}

type historyPage struct {
	Events []struct {
		ID         event.ID
		Type, Data string
	}
	Cursor string
	More   bool
}

func (l *load) history(ctx context.Context, query string, page *historyPage) error {
	var text bytes.Buffer
	status, err := l.send(ctx, http.MethodGet, "/history?since=all&"+query, l.server.Token, "", &text)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, text.Bytes())
	}
	if err == nil {
		err = json.Unmarshal(text.Bytes(), page)
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// choose chooses what a reader reads, and from where.
func (l *load) choose() (pattern, since string) {
	publisher := l.publishers[rand.IntN(len(l.publishers))].name //nolint:gosec // not a secret
	switch rand.IntN(4) {                                        //nolint:gosec // not a secret
	case 0:
		pattern = ">"
	case 1:
		pattern = publisher + "." + strconv.Itoa(rand.IntN(groups)) + ".*" //nolint:gosec // not a secret
	default:
		pattern = topicOf(publisher, rand.IntN(groups*topicsPerGroup)) //nolint:gosec // not a secret
	}
	since = []string{"", "", "all", "last", "-20", "5s"}[rand.IntN(6)] //nolint:gosec // not a secret
	return pattern, since
}
