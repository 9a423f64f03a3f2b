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
	manyFailures     = 10 // after so many the backoff is at its longest
)

// Subscription says what to read.
type Subscription struct {
	// Topics are topics and patterns: * is one segment, a last > is the rest. Empty: every
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
	// Connected is called at the first frame of a stream, Disconnected when the stream is lost or
	// could not be opened and the next attempt follows after wait. Both may be nil.
	Connected    func()
	Disconnected func(err error, wait time.Duration)
}

// Event is an event that was read.
type Event struct {
	ID    string // the last event ID: resume after it
	OwnID bool   // ID is this event's, not that of an event before
	Topic string // empty if the stream does not tell it, and for a gap of all topics
	Type  string
	Data  string
	Time  time.Time // when it was stored; zero if the stream does not tell it
	// Gap is set for an event of type gap: events are missing before the next one. An event of type end is a topic's last.
	Gap *event.Gap
	// TooLong is set for an event of [Follow] above its MaxEvent: it has no Data.
	TooLong bool
}

// ErrEnded is the reason of Disconnected after a stream that ended in order.
var ErrEnded = errors.New("freshet: the server ended the stream")

var (
	errLeft    = errors.New("the loop was left")
	errExpired = &Error{Status: http.StatusUnauthorized, Code: "auth-expired", Message: "the credentials have expired or were revoked"}
)

// Subscribe yields events until the loop is left. It reconnects by itself: after lost or
// silent connections, refusals with 408, 425, 429 or 5xx, and at a drain. It waits for the
// reconnection time that the server gives, and longer after repeated failures.
//
// It ends with ctx's error, or with an [*Error] if the server refuses the subscription: bad
// topics, or bad credentials, also new ones from Ticket or TokenFunc. It ends without an
// error at status 204: all topics have ended, and all their events were yielded.
func (c *Client) Subscribe(ctx context.Context, s Subscription) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := follower{
			yield: yield, lastID: s.LastEventID, connected: s.Connected, disconnected: s.Disconnected,
			counted: slices.Contains(s.Topics, event.TopicCounter.String()),
		}
		getTicket, ticket := s.Ticket, "" // cached
		if getTicket != nil {
			s.Ticket = func(ctx context.Context) (_ string, err error) {
				if ticket == "" {
					ticket, err = getTicket(ctx)
				}
				return ticket, err
			}
		}
		if getTicket != nil || c.cfg.TokenFunc != nil {
			f.renew = func() { ticket = "" }
		}
		f.open = func(ctx context.Context, lastID string) (*Reader, error) {
			s.LastEventID = lastID
			return c.Open(ctx, s)
		}
		f.follow(ctx)
	}
}

// follower is the state of one loop.
type follower struct {
	yield        func(Event, error) bool
	open         func(ctx context.Context, lastID string) (*Reader, error)
	renew        func() // forgets the credentials, which open gets again; nil: there are no others
	connected    func()
	disconnected func(err error, wait time.Duration)
	counted      bool // the topic counter was asked for

	lastID   string
	renewed  bool          // credentials were refused since the last open stream, and fetched again
	retry    time.Duration // the reconnection time
	failures int           // attempts in a row without a word from the server
	opened   time.Time     // the last stream
}

func (f *follower) follow(ctx context.Context) {
	f.retry = defaultRetry
	if err := f.run(ctx); err != nil {
		f.yield(Event{}, err)
	}
}

// run returns nil if the loop was left or the topics have ended.
func (f *follower) run(ctx context.Context) error {
	for {
		err := f.read(ctx)
		refused, isRefused := errors.AsType[*Error](err)
		switch {
		case errors.Is(err, errLeft):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isRefused && refused.Status == http.StatusNoContent:
			return nil
		case errors.Is(err, io.EOF):
			err = ErrEnded
		}
		wait, again := f.wait(err)
		if !again {
			return err
		}
		if f.disconnected != nil {
			f.disconnected(err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait returns how long to wait after the error, and whether another attempt may succeed.
func (f *follower) wait(err error) (_ time.Duration, again bool) {
	var retryAfter time.Duration
	if refused, ok := errors.AsType[*Error](err); ok {
		retryAfter = refused.RetryAfter
		switch status := refused.Status; {
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			if f.renewed || f.renew == nil {
				return 0, false
			}
			expired := errors.Is(err, errExpired)
			f.renewed = !expired
			f.renew()
			if !expired || time.Since(f.opened) > f.retry { // else these credentials expire too fast
				return 0, true
			}
		case status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests:
			return 0, false
		}
	}
	f.failures++
	if errors.Is(err, event.ErrFrameTooLong) { // the next attempt would read as much in vain
		f.failures = max(f.failures, manyFailures)
	}
	wait := max(f.retry, minRetry, retryAfter)
	if f.failures > 1 {
		backoff := min(wait<<min(f.failures-1, manyFailures), maxRetryBackoff)
		wait = max(wait, backoff/2+rand.N(backoff/2)) //nolint:gosec // spread, not secret
	}
	return wait + rand.N(wait/4), true //nolint:gosec // as above
}

// read opens a stream and yields its events until it ends, which is always an error.
func (f *follower) read(ctx context.Context) error {
	r, err := f.open(ctx, f.lastID)
	if err != nil {
		return err
	}
	defer r.Close()
	f.opened, f.renewed = time.Now(), false
	for first := true; ; first = false {
		frame, err := r.Next()
		if err == nil {
			if first && frame.Type != "busy" && f.connected != nil {
				f.connected()
			}
			err = f.handle(frame)
		}
		if err != nil {
			return err
		}
	}
}

func (f *follower) handle(frame Frame) error {
	if frame.HasRetry { // when to come back is the server's decision, also while it is full
		f.retry, f.failures = frame.Retry, 0
	}
	if frame.ID != "" && frame.ID != f.lastID {
		f.lastID, f.failures = frame.ID, 0
	}
	if !frame.HasData {
		return nil
	}
	e := Event{ID: f.lastID, Topic: frame.Topic, Type: frame.Type, Data: frame.Data, Time: frame.Time, TooLong: frame.TooLong, OwnID: frame.HasID && frame.ID != ""}
	if frame.Type == "gap" {
		gap := new(event.Gap)
		if json.Unmarshal([]byte(frame.Data), gap) == nil {
			e.Gap = gap
		}
	}
	if frame.Topic == "" { // it may be one of the stream's own events
		switch frame.Type {
		case "busy":
			var busy struct {
				Reason       string
				Milliseconds int64 `json:"retry_ms"`
			}
			if json.Unmarshal([]byte(frame.Data), &busy) == nil && busy.Milliseconds > 0 {
				f.retry, f.failures = time.Duration(busy.Milliseconds)*time.Millisecond, 0
				return fmt.Errorf("freshet: the server opens no stream now: %s", busy.Reason)
			}
		case "drain":
			return nil // the end of the stream follows
		case "auth-expired":
			return errExpired
		}
	}
	if frame.Topic == event.TopicCounter.String() && !f.counted {
		return nil // a stream without topics has it for browsers
	}
	f.failures = 0
	if !f.yield(e, nil) {
		return errLeft
	}
	return nil
}
