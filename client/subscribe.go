package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"freshet/event"
)

const (
	defaultHeartbeat = 15 * time.Second
	defaultRetry     = time.Second // until the server says otherwise
	minRetry         = 10 * time.Millisecond
	maxRetryBackoff  = 30 * time.Second
)

// Subscription says what to read.
type Subscription struct {
	// Topics are topics and patterns: * is one token, a last > is the rest. Empty: every
	// published event that the credentials allow.
	Topics []string
	// Since is where to begin: an ID, all, last, a count (-20), a duration (10m) or an RFC 3339
	// time. Empty: with what is published from now on.
	Since string
	// LastEventID is where to resume: [Event.ID] of the last event that was handled. It
	// beats Since.
	LastEventID string

	// Ticket returns a ticket to read with, instead of the client's token. It is called for the
	// first connection and when the server no longer accepts the ticket.
	Ticket func(context.Context) (string, error)
	// Header has further headers. Accept: text/event-stream asks for an event stream, which
	// has no topics and times; the default is NDJSON.
	Header http.Header
	// Heartbeat is the server's --heartbeat. A connection that is silent for two and a half of
	// them is replaced. 0: 15 s; negative: silence is not noticed.
	Heartbeat time.Duration

	// Connected is called when a stream is open, Disconnected when it is lost or could not be
	// opened and the next attempt follows after wait. Both may be nil.
	Connected    func()
	Disconnected func(err error, wait time.Duration)
}

// Event is an event that was read.
type Event struct {
	ID    string // the last event ID: resume after it
	Topic string // empty if the stream does not tell it, and for a gap
	Type  string
	Data  string
	Time  time.Time // when it was stored; zero if the stream does not tell it
	// Gap is set for an event of type gap: events are missing before the next one.
	Gap *event.Gap
}

var (
	errLeft      = errors.New("the loop was left")
	errTopicsEnd = errors.New("the topics have ended")
	errEnded     = errors.New("freshet: the server ended the stream")
	errExpired   = &Error{Status: http.StatusUnauthorized, Code: "auth-expired", Message: "the credentials have expired or were revoked"}
)

// Subscribe yields events until the loop is left. It reconnects by itself: after lost or
// silent connections, refusals with 408, 425, 429 or 5xx, and at a drain. It waits for the
// reconnection time that the server gives, and longer after repeated failures.
//
// It ends with ctx's error, or with an [*Error] if the server refuses the subscription:
// bad topics, or credentials that do not suffice. With Ticket or TokenFunc it asks for new
// credentials once before that. It ends without an error at status 204.
func (c *Client) Subscribe(ctx context.Context, s Subscription) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := follower{client: c, sub: s, yield: yield, retry: defaultRetry}
		if err := f.run(ctx); !errors.Is(err, errLeft) && !errors.Is(err, errTopicsEnd) {
			yield(Event{}, err)
		}
	}
}

// follower is the state of one loop.
type follower struct {
	client *Client
	sub    Subscription // its LastEventID moves on
	yield  func(Event, error) bool

	ticket   string
	renewed  bool          // new credentials were fetched since the last open stream
	retry    time.Duration // the reconnection time
	failures int           // attempts in a row without a word from the server
	opened   time.Time     // the last stream
}

func (f *follower) run(ctx context.Context) error {
	for {
		err := f.read(ctx)
		if ctx.Err() != nil && !errors.Is(err, errLeft) {
			return ctx.Err()
		}
		wait, err := f.next(err)
		if wait < 0 {
			return err
		}
		if f.sub.Disconnected != nil {
			f.sub.Disconnected(err, wait)
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// next returns how long to wait after the error before the next attempt; less than 0: the
// error is the end.
func (f *follower) next(err error) (time.Duration, error) {
	var retryAfter time.Duration
	refused, isRefused := errors.AsType[*Error](err)
	renewable := f.sub.Ticket != nil || f.client.cfg.TokenFunc != nil
	switch {
	case errors.Is(err, errLeft):
		return -1, err
	case errors.Is(err, io.EOF):
		err = errEnded
	case errors.Is(err, errExpired):
		if !renewable {
			return -1, err
		}
		f.ticket = ""
		if time.Since(f.opened) > f.retry { // else these credentials expire too fast
			return 0, err
		}
	case isRefused:
		switch status := refused.Status; {
		case status == http.StatusNoContent:
			return -1, errTopicsEnd
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			if f.renewed || !renewable {
				return -1, err
			}
			f.renewed, f.ticket = true, ""
			return 0, err
		case status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests:
			return -1, err
		}
		retryAfter = refused.RetryAfter
	}
	f.failures++
	wait := max(f.retry, minRetry, retryAfter)
	if f.failures > 1 {
		backoff := min(wait<<min(f.failures-1, 10), maxRetryBackoff)
		wait = max(wait, backoff/2+rand.N(backoff/2)) //nolint:gosec // spread, not secret
	}
	return wait + rand.N(wait/4), err //nolint:gosec // as above
}

// read opens a stream and yields its events until it ends, which is always an error.
func (f *follower) read(ctx context.Context) error {
	if f.sub.Ticket != nil && f.ticket == "" {
		var err error
		if f.ticket, err = f.sub.Ticket(ctx); err != nil {
			return fmt.Errorf("freshet: get a ticket: %w", err)
		}
	}
	r, err := f.client.open(ctx, f.sub, f.ticket)
	if err != nil {
		return err
	}
	defer r.Close()
	f.opened, f.renewed = time.Now(), false
	if f.sub.Connected != nil {
		f.sub.Connected()
	}
	for {
		frame, err := r.Next()
		if err != nil {
			return err
		}
		if err := f.handle(frame); err != nil {
			return err
		}
	}
}

func (f *follower) handle(frame Frame) error {
	if frame.HasRetry { // when to come back is the server's decision, also while it is full
		f.retry, f.failures = frame.Retry, 0
	}
	if frame.ID != "" && frame.ID != f.sub.LastEventID {
		f.sub.LastEventID, f.failures = frame.ID, 0
	}
	if !frame.HasData {
		return nil
	}
	e := Event{ID: f.sub.LastEventID, Topic: frame.Topic, Type: frame.Type, Data: frame.Data, Time: frame.Time}
	if frame.Topic == "" { // it may be one of the stream's own events
		switch frame.Type {
		case "busy":
			var busy struct {
				Milliseconds int64 `json:"retry_ms"`
			}
			if json.Unmarshal([]byte(frame.Data), &busy) == nil && busy.Milliseconds > 0 {
				f.retry = time.Duration(busy.Milliseconds) * time.Millisecond
				return nil
			}
		case "drain":
			return nil // the end of the stream follows
		case "auth-expired":
			return errExpired
		case "gap":
			gap := new(event.Gap)
			if json.Unmarshal([]byte(frame.Data), gap) == nil {
				e.Gap = gap
			}
		}
	}
	if frame.Topic == event.TopicCounter.String() && !slices.Contains(f.sub.Topics, frame.Topic) {
		return nil // a stream without topics has it for browsers
	}
	f.failures = 0
	if !f.yield(e, nil) {
		return errLeft
	}
	return nil
}
