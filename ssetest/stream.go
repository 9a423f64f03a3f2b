// Package ssetest reads event streams of any HTTP handler in tests. It needs no network, so it works in fake time too
// (testing/synctest).
//
// As in a browser, bytes arrive when the handler flushes them or returns. The end of the test closes streams that are
// still open.
package ssetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"freshet/event"
)

// maxFrame is the largest frame that a stream may have.
const maxFrame = 64 << 20

// Stream is a response that the test reads while the handler runs.
type Stream struct {
	t        testing.TB
	scanner  *event.Scanner
	response *response
	cancel   context.CancelFunc
	done     chan struct{} // closed when the handler has returned
}

// Get opens a stream with a GET request to the handler. Headers are pairs of name and value.
func Get(t testing.TB, handler http.Handler, target string, headers ...string) *Stream {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return Open(t, handler, r)
}

// Open sends the request to the handler and waits for the first flush. The handler runs until it returns, or until the
// stream is closed, which cancels the request.
func Open(t testing.TB, handler http.Handler, r *http.Request) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	s := &Stream{t: t, response: newResponse(), cancel: cancel, done: make(chan struct{})}
	s.scanner = event.NewScanner(s.response, maxFrame)
	go func() {
		defer close(s.done)
		defer s.response.finish()
		handler.ServeHTTP(s.response, r.WithContext(ctx))
	}()
	t.Cleanup(s.Close)
	s.response.waitFlush()
	return s
}

// Next returns the next frame, including a frame without data. It fails the test if the stream ends.
func (s *Stream) Next() event.Frame {
	s.t.Helper()
	if !s.scanner.Scan() {
		s.t.Fatalf("the stream ended, error: %v", s.scanner.Err())
	}
	return s.scanner.Frame()
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
	for s.scanner.Scan() {
		frames = append(frames, s.scanner.Frame())
	}
	if err := s.scanner.Err(); err != nil {
		s.t.Errorf("the stream broke: %v", err)
	}
	<-s.done
	return frames
}

// Body waits for the response's end and returns the bytes that were not read.
func (s *Stream) Body() string {
	s.t.Helper()
	body, err := io.ReadAll(s.response)
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
		if _, err := s.response.Read(c); err != nil {
			s.t.Fatalf("the response ended after %q: %v", line, err)
		}
		if c[0] == '\n' {
			return string(line)
		}
		line = append(line, c[0])
	}
}

// Pending returns how many bytes have arrived but were not read.
func (s *Stream) Pending() int {
	s.response.mu.Lock()
	defer s.response.mu.Unlock()
	return s.response.arrived.Len()
}

// Status returns the response's status.
func (s *Stream) Status() int { return s.response.status }

// Header returns the response's headers.
func (s *Stream) Header() http.Header { return s.response.sent }

// Close disconnects the client, and waits for the handler to return.
func (s *Stream) Close() {
	s.cancel()
	<-s.done
}

// response is the ResponseWriter of the handler and the reader of the test.
type response struct {
	header http.Header // the handler's

	mu      sync.Mutex
	changed *sync.Cond
	status  int
	sent    http.Header  // the headers as they were when the status was written
	written bytes.Buffer // not flushed yet
	arrived bytes.Buffer
	flushed bool
	ended   bool
}

func newResponse() *response {
	r := &response{header: http.Header{}}
	r.changed = sync.NewCond(&r.mu)
	return r
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeHeader(status)
}

func (r *response) writeHeader(status int) {
	if r.status == 0 {
		r.status, r.sent = status, r.header.Clone()
	}
}

func (r *response) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return 0, errors.New("write after the handler returned")
	}
	r.writeHeader(http.StatusOK)
	return r.written.Write(p)
}

// Flush makes the written bytes arrive.
func (r *response) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeHeader(http.StatusOK)
	_, _ = r.written.WriteTo(&r.arrived) // cannot fail between buffers
	r.flushed = true
	r.changed.Broadcast()
}

func (r *response) finish() {
	r.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.changed.Broadcast()
}

// Read waits for bytes to arrive.
func (r *response) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.arrived.Len() == 0 && !r.ended {
		r.changed.Wait()
	}
	if r.arrived.Len() == 0 {
		return 0, io.EOF
	}
	return r.arrived.Read(p)
}

// waitFlush waits for the first flush. The status and the headers do not change after it.
func (r *response) waitFlush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.flushed {
		r.changed.Wait()
	}
}
