package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"freshet/event"
)

const maxFrame = 64 << 20 // bytes

var errSilent = errors.New("freshet: the connection is silent: nothing has arrived, not even a comment")

// Frame is one frame of a stream, or one line of NDJSON.
type Frame struct {
	event.Frame
	Topic string    // NDJSON only
	Time  time.Time // NDJSON only: when the event was stored
}

// Reader reads one stream. It belongs to one goroutine, except for Close.
type Reader struct {
	Header http.Header // of the answer

	ctx     context.Context //nolint:containedctx // it lives as long as the connection
	cancel  context.CancelCauseFunc
	body    io.ReadCloser
	silence *time.Timer   // cancels
	limit   time.Duration // of silence
	next    func() (Frame, error)
}

// Open opens the stream once, without resuming it later. An answer without a stream is an
// [*Error], also with status 204, which means that the topics have ended. The caller closes
// the reader; the end of ctx closes it too.
func (c *Client) Open(ctx context.Context, s Subscription) (_ *Reader, err error) {
	query := url.Values{"topic": s.Topics}
	if s.Since != "" {
		query.Set("since", s.Since)
	}
	ticket := ""
	if s.Ticket != nil {
		if ticket, err = s.Ticket(ctx); err != nil {
			return nil, fmt.Errorf("freshet: get a ticket: %w", err)
		}
	}
	if ticket != "" {
		query.Set("ticket", ticket)
	}
	o := opening{
		url:       strings.TrimSuffix(c.base+"/event?"+query.Encode(), "?"),
		header:    s.Header,
		accept:    "application/x-ndjson, text/event-stream", // NDJSON tells topics and times; other servers and proxies answer with an event stream
		lastID:    s.LastEventID,
		heartbeat: cmp.Or(s.Heartbeat, defaultHeartbeat),
		frames:    func(body io.Reader) *event.Scanner { return event.NewScanner(body, maxFrame) },
		send:      func(r *http.Request) (*http.Response, error) { return c.send(c.streams, r, ticket) },
	}
	return o.open(ctx)
}

// opening is a request for a stream.
type opening struct {
	url       string
	header    http.Header
	accept    string // unless the header has one
	lastID    string
	heartbeat time.Duration // negative: silence is not noticed
	frames    func(io.Reader) *event.Scanner
	send      func(*http.Request) (*http.Response, error)
}

func (o opening) open(ctx context.Context) (_ *Reader, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &Reader{ctx: ctx, cancel: cancel, limit: o.heartbeat * 5 / 2}
	if o.heartbeat < 0 {
		r.limit = math.MaxInt64
	}
	r.silence = time.AfterFunc(r.limit, func() { cancel(errSilent) })
	defer func() {
		if err != nil {
			err = r.explain(err)
			r.Close()
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, o.header)
	request.Header.Set("Accept", cmp.Or(request.Header.Get("Accept"), o.accept))
	if o.lastID != "" {
		request.Header.Set("Last-Event-ID", o.lastID)
	}
	response, err := o.send(request) //nolint:bodyclose // Close does it
	if err != nil {
		return nil, err
	}
	r.Header, r.body = response.Header, response.Body
	if response.StatusCode != http.StatusOK {
		return nil, refusal(response)
	}
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "text/event-stream":
		r.next = frames(o.frames(heard{r}))
	case "application/x-ndjson":
		r.next = lines(heard{r}, o.lastID)
	default:
		return nil, &Error{Status: http.StatusOK, Message: fmt.Sprintf("the answer is %q, not an event stream", kind)}
	}
	return r, nil
}

// Next waits for the next frame. It returns io.EOF at the end of the stream.
func (r *Reader) Next() (Frame, error) {
	f, err := r.next()
	return f, r.explain(err)
}

// Close closes the connection.
func (r *Reader) Close() {
	r.cancel(context.Canceled)
	r.silence.Stop()
	if r.body != nil {
		_ = r.body.Close() // nothing can be done about it
	}
}

// explain replaces the error of a canceled connection by the reason.
func (r *Reader) explain(err error) error {
	if cause := context.Cause(r.ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// heard reads the body. It watches for silence only while it waits for bytes, so a slow
// consumer is not mistaken for a silent server.
type heard struct{ *Reader }

func (h heard) Read(p []byte) (int, error) {
	h.silence.Reset(h.limit)
	defer h.silence.Stop()
	return h.body.Read(p)
}

// frames reads an event stream.
func frames(scanner *event.Scanner) func() (Frame, error) {
	return func() (Frame, error) {
		if !scanner.Scan() {
			return Frame{}, cmp.Or(scanner.Err(), io.EOF)
		}
		return Frame{Frame: scanner.Frame()}, nil
	}
}

// lines reads NDJSON. As in an event stream, an ID counts until the next one.
func lines(body io.Reader, lastID string) func() (Frame, error) {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, maxFrame)
	return func() (Frame, error) {
		if !scanner.Scan() {
			return Frame{}, cmp.Or(scanner.Err(), io.EOF)
		}
		var line struct {
			ID, Topic, Type string
			Time            time.Time
			Data            *string
			Retry           *int64
		}
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return Frame{}, cmp.Or(scanner.Err(), io.ErrUnexpectedEOF) // the connection cut the line off
		}
		lastID = cmp.Or(line.ID, lastID)
		f := Frame{Frame: event.Frame{ID: lastID, HasID: line.ID != "", Type: cmp.Or(line.Type, "message")}, Topic: line.Topic, Time: line.Time}
		if line.Data != nil {
			f.Data, f.HasData = *line.Data, true
		}
		if line.Retry != nil && *line.Retry >= 0 {
			f.Retry, f.HasRetry = time.Duration(*line.Retry)*time.Millisecond, true
		}
		return f, nil
	}
}
