package ssetest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"freshet/event"
)

const (
	// patience is how long a server may take for its headers, and a handler to notice that its client has gone.
	patience = 10 * time.Second
	// maxRecent is how many events a failed expectation shows.
	maxRecent   = 5
	eventStream = "text/event-stream"
)

// Stream is a response that the test reads while the handler or server writes it.
type Stream struct {
	t       testing.TB
	body    io.Reader
	frames  *frames
	rec     *recorder // nil: of a running server
	status  int
	header  http.Header
	close   func() // disconnects the client, and waits
	request *http.Request
	reopen  func(t testing.TB, r *http.Request) *Stream

	lastID string
	recent []event.Frame // the newest events that were read
}

// Get opens a stream with a GET request to the handler. Headers are pairs of name and value.
func Get(t testing.TB, handler http.Handler, target string, headers ...string) *Stream {
	t.Helper()
	return Open(t, handler, accepting(httptest.NewRequest(http.MethodGet, target, nil), headers))
}

// Open sends the request to the handler and waits for the first flush. The handler runs until it returns, or until the
// stream is closed, which cancels the request.
func Open(t testing.TB, handler http.Handler, r *http.Request) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	rec, done := record(handler, r.WithContext(ctx))
	s := &Stream{t: t, body: rec, frames: newFrames(rec), rec: rec, status: rec.status, header: rec.sent, request: r}
	s.close = func() {
		t.Helper()
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Errorf("the handler of %s still runs %v after its client has gone: it must watch the request's context", r.URL, patience)
		}
	}
	s.reopen = func(t testing.TB, r *http.Request) *Stream { t.Helper(); return Open(t, handler, r) }
	t.Cleanup(s.Close)
	return s
}

// Dial opens a stream of a running server. Headers are pairs of name and value.
func Dial(t testing.TB, url string, headers ...string) *Stream {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatalf("the URL of the stream: %v", err)
	}
	return Do(t, http.DefaultClient, accepting(r, headers))
}

// Do sends the request with the client and waits for the response's headers.
func Do(t testing.TB, client *http.Client, r *http.Request) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	t.Cleanup(cancel)
	late := time.AfterFunc(patience, cancel)
	response, err := client.Do(r.WithContext(ctx))
	switch {
	case err != nil && !late.Stop():
		t.Fatalf("%s %s: no headers arrived in %v; a stream must flush its headers at once", r.Method, r.URL, patience)
	case err != nil:
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	case !late.Stop():
		t.Fatalf("%s %s: the headers took %v", r.Method, r.URL, patience)
	}
	s := &Stream{t: t, body: response.Body, frames: newFrames(response.Body), status: response.StatusCode, header: response.Header, request: r}
	s.close = func() {
		cancel()
		_ = response.Body.Close() // the test has read what it wanted
	}
	s.reopen = func(t testing.TB, r *http.Request) *Stream { t.Helper(); return Do(t, client, r) }
	t.Cleanup(s.Close)
	return s
}

func accepting(r *http.Request, headers []string) *http.Request {
	r.Header.Set("Accept", eventStream)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// Resume closes the stream, and opens it again as a browser does after a lost connection: with the last event ID that
// the test has read, if there is one.
func (s *Stream) Resume() *Stream {
	s.t.Helper()
	s.Close()
	r := s.request.Clone(s.request.Context())
	if s.lastID != "" {
		r.Header.Set("Last-Event-ID", s.lastID)
	}
	return s.reopen(s.t, r)
}

// LastEventID returns the last event ID of what the test has read.
func (s *Stream) LastEventID() string { return s.lastID }

// Next returns the next frame, including a frame without data. It fails the test if the stream ends.
func (s *Stream) Next() event.Frame {
	s.t.Helper()
	f, err := s.next(context.Background())
	if err != nil {
		s.t.Fatalf("the stream ended: %v", err)
	}
	return f
}

// NextEvent returns the next frame that dispatches an event.
func (s *Stream) NextEvent() event.Frame {
	s.t.Helper()
	for {
		if f := s.Next(); f.HasData {
			return f
		}
	}
}

// Rest waits for the stream's end and returns the remaining frames.
func (s *Stream) Rest() (frames []event.Frame) {
	s.t.Helper()
	for {
		f, err := s.next(context.Background())
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.t.Errorf("the stream broke: %v", err)
			}
			return frames
		}
		frames = append(frames, f)
	}
}

// next remembers what the test has read.
func (s *Stream) next(ctx context.Context) (event.Frame, error) {
	f, err := s.frames.next(ctx)
	if err != nil {
		return f, err
	}
	s.lastID = f.ID
	if f.HasData {
		if s.recent = append(s.recent, f); len(s.recent) > maxRecent {
			s.recent = s.recent[1:]
		}
	}
	return f, nil
}

// Body waits for the response's end and returns the bytes that were not read.
func (s *Stream) Body() string {
	s.t.Helper()
	body, err := io.ReadAll(s.body)
	if err != nil {
		s.t.Errorf("the response broke: %v", err)
	}
	return string(body)
}

// Line returns the response's next line. It is for responses that are not event streams; do not mix it with Next.
func (s *Stream) Line() string {
	s.t.Helper()
	var line []byte
	for c := make([]byte, 1); ; {
		if _, err := io.ReadFull(s.body, c); err != nil {
			s.t.Fatalf("the response ended after %q: %v", line, err)
		}
		if c[0] == '\n' {
			return string(line)
		}
		line = append(line, c[0])
	}
}

// Pending returns how many bytes of a handler have arrived but were not read. For a running server, nobody knows: there
// it fails the test.
func (s *Stream) Pending() int {
	s.t.Helper()
	if s.rec == nil {
		s.t.Fatalf("Pending is for the stream of a handler; use Expect(t, stream).NoMore()")
	}
	return s.rec.pending()
}

// Status returns the response's status.
func (s *Stream) Status() int { return s.status }

// Header returns the response's headers.
func (s *Stream) Header() http.Header { return s.header }

// Close disconnects the client, and waits for the handler to return. It fails the test if the handler does not.
func (s *Stream) Close() { s.t.Helper(); s.close() }
