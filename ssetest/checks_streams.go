package ssetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"freshet/doctor"
	"freshet/event"
)

const (
	pollTime    = 10 * time.Millisecond
	steadyPolls = 20
)

// checkOpen: the status is 200 and the type text/event-stream, and the headers do not wait for an event: at the headers, a browser
// announces the connection (HTML 9.2.3, Processing model).
func checkOpen(ctx context.Context, e *endpoint) error {
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	c.close()
	return nil
}

// checkHeaders: the headers do not contradict a stream. It has no length, and browsers decode it as UTF-8, whatever the headers say
// (HTML 9.2.6).
func checkHeaders(ctx context.Context, e *endpoint) error {
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	_, parameters, _ := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if set := parameters["charset"]; set != "" && !strings.EqualFold(set, "utf-8") {
		return fmt.Errorf("the charset is %s, but browsers decode the stream as UTF-8", set)
	}
	return doctor.CheckLength(c.Response)
}

// checkUnknownID: a last event ID that the server does not know, such as one of an earlier server, opens a stream too. Any other status
// would stop a browser for good (HTML 9.2.3, fail the connection).
func checkUnknownID(ctx context.Context, e *endpoint) error {
	for _, id := range []string{"conform-unknown", "18446744073709551616", "größe"} {
		c, err := e.open(ctx, "Last-Event-ID", id)
		if err != nil {
			return fmt.Errorf("with the last event ID %s: %w", id, err)
		}
		c.close()
	}
	return nil
}

// checkRetry: the stream sets a reconnection time before or with its first event, in ASCII digits (HTML 9.2.6, retry).
func checkRetry(ctx context.Context, e *endpoint) error {
	if !e.Retry {
		return skipped("Retry is not claimed")
	}
	c, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	text, _ := c.raw.arrived()
	frames := event.NewScanner(strings.NewReader(text), maxFrame)
	for frames.Scan() {
		switch f := frames.Frame(); {
		case f.HasRetry:
			return nil
		case f.HasData:
			return errors.New("the first event came before a reconnection time")
		}
	}
	return errors.New("there is no reconnection time")
}

// checkHeartbeat: a quiet stream sends something before proxies close it (HTML 9.2.7, Authoring notes).
func checkHeartbeat(ctx context.Context, e *endpoint) error {
	if e.Heartbeat <= 0 {
		return skipped("Heartbeat is not claimed")
	}
	limit := 2*e.Heartbeat + e.Patience
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	opened, ended := time.Now(), make(chan error, 1)
	go func() {
		for {
			if _, err := c.frames.next(ctx); err != nil {
				ended <- err
				return
			}
		}
	}()
	tick := time.NewTicker(max(e.Heartbeat/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, last := c.raw.arrived(); last.Sub(opened) > e.Heartbeat/2 { // the opening comes earlier
				cancel()
				<-ended //nolint:errcheck // why it stopped does not matter
				return nil
			}
		case err := <-ended:
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("a quiet stream was silent for %v", limit)
			}
			return fmt.Errorf("a quiet stream ended: %w", err)
		}
	}
}

// checkCORS: pages of the origin can open the stream (HTML 9.2.2, the EventSource constructor: the request's mode is cors).
func checkCORS(ctx context.Context, e *endpoint) error {
	if e.Origin == "" {
		return skipped("Origin is not set")
	}
	c, err := e.open(ctx, "Origin", e.Origin)
	if err != nil {
		return err
	}
	defer c.close()
	return doctor.CheckOrigin(c.Header, e.Origin, e.Credentials)
}

// checkPreflight: pages of the origin can fetch the stream with a token and a last event ID (Fetch, CORS-preflight fetch).
func checkPreflight(ctx context.Context, e *endpoint) error {
	if e.Origin == "" || !e.Preflight {
		return skipped("Preflight is not claimed, or Origin is not set")
	}
	headers := []string{"authorization", "last-event-id"}
	r, err := http.NewRequestWithContext(ctx, http.MethodOptions, e.url, nil)
	if err != nil {
		return err
	}
	r.Header = doctor.PreflightHeader(e.Origin, headers...) // a preflight has no credentials
	response, cancel, err := e.do(r)
	if err != nil {
		return err
	}
	defer cancel()
	_ = response.Body.Close() // the headers say all
	return doctor.CheckPreflight(response, e.Origin, headers...)
}

// checkBusy: a browser that is refused for a while comes back by itself: the answer is a stream that sets a longer reconnection time
// and ends (HTML 9.2.3: reestablish the connection, not fail it).
func checkBusy(ctx context.Context, e *endpoint) error {
	if e.Busy == "" {
		return skipped("Busy is not set")
	}
	busy := *e
	busy.url = e.Busy
	c, err := busy.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	for retry := false; ; {
		f, err := c.frames.next(ctx)
		retry = retry || f.HasRetry
		switch {
		case errors.Is(err, io.EOF) && retry:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("the refusal has no reconnection time: refused browsers come back every few seconds")
		case err != nil:
			return fmt.Errorf("the refusal does not end: %w", err)
		}
	}
}

// checkDisconnect: the endpoint notices that a reader has gone, as after EventSource.close() (HTML 9.2.2).
func checkDisconnect(ctx context.Context, e *endpoint) error {
	if e.Readers == nil {
		return skipped("Readers is not set")
	}
	before, err := e.steadyReaders(ctx)
	if err != nil {
		return err
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	err = e.readersAre(ctx, func(n int) bool { return n > before })
	c.close()
	if err != nil {
		return fmt.Errorf("a reader does not count: %w", err)
	}
	if err := e.readersAre(ctx, func(n int) bool { return n <= before }); err != nil {
		return fmt.Errorf("a reader that has gone still counts: %w", err)
	}
	return nil
}

// steadyReaders returns the number of readers once it no longer changes: those of other checks may just be leaving.
func (e *endpoint) steadyReaders(ctx context.Context) (int, error) {
	last, same := -1, 0
	err := e.readersAre(ctx, func(n int) bool {
		if same++; n != last {
			last, same = n, 0
		}
		return same == steadyPolls
	})
	return last, err
}

// readersAre asks for the number of readers until it is right.
func (e *endpoint) readersAre(ctx context.Context, right func(int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		n, err := e.Readers(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("counting readers failed: %w", err)
		case right(n):
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d readers after %v", n, e.Patience)
		}
	}
}
