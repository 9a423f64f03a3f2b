package ssetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// perConnection is how many events a reader takes of each connection while others are published.
const perConnection = 10

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
		case len(f.ID) > maxSafeID || strings.ContainsFunc(f.ID, unsafe):
			return fmt.Errorf("for the ID %q, a page elsewhere needs a preflight to resume: use at most %d bytes, and no control characters or \"():<>?@[\\]{}", f.ID, maxSafeID)
		}
		seen[f.ID] = true
	}
	return nil
}

// unsafe reports whether the character makes a header's value one that needs a preflight (Fetch, CORS-unsafe request-header byte).
func unsafe(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("\"():<>?@[\\]{}", r) }

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
	ctx, cancel := context.WithCancel(ctx)
	mark, published := marker(), make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < manyData && err == nil; n++ {
			err = e.publish(ctx, numbered(mark, n))
		}
		published <- err
	}()
	err = e.follow(ctx, c, mark)
	cancel() // if reading has failed, publishing need not go on
	if failed := <-published; err == nil {
		err = failed
	}
	return err
}

// follow reads the numbered events, and reconnects after every few of them. It closes the connection.
func (e *endpoint) follow(ctx context.Context, c *connection, mark string) error {
	defer func() { c.close() }()
	for n := range manyData {
		f, err := c.find(ctx, mark, e.Patience)
		if err != nil {
			return fmt.Errorf("event %d of %d: %w", n+1, manyData, err)
		}
		if f.data != numbered(mark, n) {
			return fmt.Errorf("in the place of event %d of %d came %q", n+1, manyData, f.data)
		}
		if n%perConnection == perConnection-1 {
			c.close()
			next, err := e.open(ctx, "Last-Event-ID", f.ID)
			if err != nil {
				return err
			}
			c = next
		}
	}
	return nil
}
