package ssetest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// perConnection is how many events a reader takes of each connection while others are published. It divides manyData.
	perConnection = 10
	quietTime     = 300 * time.Millisecond
)

// checkIDs: each event has an ID of its own, which a browser can send back in a header (HTML 9.2.4, The Last-Event-ID header).
func checkIDs(ctx context.Context, e *endpoint) error {
	if !e.Resumes {
		return skipped("Resumes is not claimed")
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	seen := map[string]bool{}
	for range 3 {
		mark := marker()
		f, err := c.exchange(ctx, mark, mark)
		switch {
		case err != nil:
			return err
		case !f.HasID || f.ID == "":
			return errors.New("an event has no ID")
		case seen[f.ID]:
			return fmt.Errorf("two events have the ID %q", f.ID)
		}
		seen[f.ID] = true
	}
	return nil
}

// checkResume: after the last event ID, exactly the events after it arrive, also those that were published while the reader was away
// (HTML 9.2.4).
func checkResume(ctx context.Context, e *endpoint) error {
	if !e.Resumes {
		return skipped("Resumes is not claimed")
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	mark, lastID := marker(), ""
	for n := range 3 {
		f, err := c.exchange(ctx, mark, numbered(mark, n))
		if err != nil {
			c.close()
			return err
		}
		if n == 0 {
			lastID = f.ID
		}
	}
	c.close()
	if err := e.publish(ctx, numbered(mark, 3)); err != nil {
		return err
	}
	if c, err = e.open(ctx, "Last-Event-ID", lastID); err != nil {
		return err
	}
	defer c.close()
	for n := 1; n <= 4; n++ {
		if n == 4 { // by now, the reader has all that it missed
			if err := e.publish(ctx, numbered(mark, n)); err != nil {
				return err
			}
		}
		f, err := c.find(ctx, mark, e.Patience)
		if err != nil {
			return fmt.Errorf("after the last event ID %s, event %d: %w", lastID, n, err)
		}
		if f.data != numbered(mark, n) {
			return fmt.Errorf("after the last event ID %s, want %q, got %q", lastID, numbered(mark, n), f.data)
		}
	}
	return nil
}

// checkResumeUpToDate: a reader that has missed nothing gets nothing again (HTML 9.2.4).
func checkResumeUpToDate(ctx context.Context, e *endpoint) error {
	if !e.Resumes {
		return skipped("Resumes is not claimed")
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	mark := marker()
	f, err := c.exchange(ctx, mark, numbered(mark, 0))
	c.close()
	if err != nil {
		return err
	}
	if c, err = e.open(ctx, "Last-Event-ID", f.ID); err != nil {
		return err
	}
	defer c.close()
	return c.continues(ctx, mark, 1)
}

// continues checks that a reader with the newest event ID gets nothing but the event with the number, which is published after a moment
// of silence: an endpoint that subscribes the reader late would take it for one that the reader has missed.
func (c *connection) continues(ctx context.Context, mark string, n int) error {
	f, err := c.find(ctx, mark, quietTime)
	if errors.Is(err, errMissing) {
		f, err = c.exchange(ctx, mark, numbered(mark, n))
	}
	if err == nil && f.data != numbered(mark, n) {
		return fmt.Errorf("a reader with the newest event ID got %q again", f.data)
	}
	return err
}

// checkResumeWhilePublishing: a reader that reconnects again and again gets every event once and in order, also those that are
// published while it connects (HTML 9.2.4).
func checkResumeWhilePublishing(ctx context.Context, e *endpoint) error {
	if !e.Resumes {
		return skipped("Resumes is not claimed")
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer func() { c.close() }()
	publishing, cancel := context.WithCancel(ctx)
	defer cancel()
	mark, published := marker(), make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < manyData && err == nil; n++ {
			err = e.publish(publishing, numbered(mark, n))
		}
		published <- err
	}()
	for n := 0; n < manyData && err == nil; n++ {
		c, err = e.step(ctx, c, mark, n)
	}
	if err != nil {
		cancel()
		<-published //nolint:errcheck // err came first
		return err
	}
	if err := <-published; err != nil {
		return err
	}
	return c.continues(ctx, mark, manyData) // the last step has reconnected
}

// step reads the event with the number, and reconnects after some. It returns a connection in any case.
func (e *endpoint) step(ctx context.Context, c *connection, mark string, n int) (*connection, error) {
	f, err := c.find(ctx, mark, e.Patience)
	switch {
	case err != nil:
		return c, fmt.Errorf("event %d of %d: %w", n+1, manyData, err)
	case f.data != numbered(mark, n):
		return c, fmt.Errorf("in the place of event %d of %d came %q", n+1, manyData, f.data)
	case n%perConnection != perConnection-1:
		return c, nil
	}
	c.close()
	next, err := e.open(ctx, "Last-Event-ID", f.ID)
	if err != nil {
		return c, err
	}
	return next, nil
}
