// Package ssetest reads the event streams of any handler in tests, without a network, and
// so in fake time too (testing/synctest).
//
// A stream's bytes arrive when the handler flushes them or returns, as they would for a
// browser. Whoever opens a stream closes it; the test ends it otherwise.
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

// Stream is an answer that is being read while the handler runs.
type Stream struct {
	t       testing.TB
	scanner *event.Scanner
	answer  *answer
	cancel  context.CancelFunc
	done    chan struct{} // closed when the handler has returned
}

// Get opens a stream by a GET request to the handler. Headers are pairs of name and value.
func Get(t testing.TB, handler http.Handler, target string, headers ...string) *Stream {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return Open(t, handler, r)
}

// Open sends the request to the handler, which runs until the stream is closed, the test
// ends or it returns by itself, and waits for the answer's first bytes: what happens from
// then on, the stream hears.
func Open(t testing.TB, handler http.Handler, r *http.Request) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	s := &Stream{t: t, answer: newAnswer(), cancel: cancel, done: make(chan struct{})}
	s.scanner = event.NewScanner(s.answer, maxFrame)
	go func() {
		defer close(s.done)
		defer s.answer.finish()
		handler.ServeHTTP(s.answer, r.WithContext(ctx))
	}()
	t.Cleanup(s.Close)
	s.answer.head()
	return s
}

// Next returns the next frame, one that only moves the cursor included. It fails the test
// if the stream ends before.
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

// Rest waits for the stream's end and returns the frames up to there.
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

// Body waits for the answer's end and returns what has not been read of it.
func (s *Stream) Body() string {
	s.t.Helper()
	body, err := io.ReadAll(s.answer)
	if err != nil {
		s.t.Errorf("the answer broke: %v", err)
	}
	return string(body)
}

// Line returns the answer's next line as it stands. It is for answers that are no event
// stream; do not mix it with Next.
func (s *Stream) Line() string {
	s.t.Helper()
	var line []byte
	for c := make([]byte, 1); ; {
		if _, err := s.answer.Read(c); err != nil {
			s.t.Fatalf("the answer ended after %q: %v", line, err)
		}
		if c[0] == '\n' {
			return string(line)
		}
		line = append(line, c[0])
	}
}

// Pending returns how many bytes have arrived that were not read.
func (s *Stream) Pending() int {
	s.answer.mu.Lock()
	defer s.answer.mu.Unlock()
	return s.answer.arrived.Len()
}

// Status returns the answer's status.
func (s *Stream) Status() int { return s.answer.head().status }

// Header returns the answer's headers.
func (s *Stream) Header() http.Header { return s.answer.head().sent }

// Close does what a reader does that goes away, and waits for the handler to return.
func (s *Stream) Close() {
	s.cancel()
	<-s.done
}

// answer is a ResponseWriter on one side and a reader on the other.
type answer struct {
	header http.Header // the handler's

	mu      sync.Mutex
	changed *sync.Cond
	status  int
	sent    http.Header  // the headers as they were when the status was written
	written bytes.Buffer // not yet flushed
	arrived bytes.Buffer
	begun   bool // something has arrived
	ended   bool
}

func newAnswer() *answer {
	a := &answer{header: http.Header{}}
	a.changed = sync.NewCond(&a.mu)
	return a
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeHeader(status)
}

func (a *answer) writeHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return 0, errors.New("write after the handler returned")
	}
	a.writeHeader(http.StatusOK)
	return a.written.Write(p)
}

// Flush lets what was written arrive.
func (a *answer) Flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeHeader(http.StatusOK)
	_, _ = a.written.WriteTo(&a.arrived) // between two buffers
	a.begun = true
	a.changed.Broadcast()
}

func (a *answer) finish() {
	a.Flush()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.changed.Broadcast()
}

// Read waits for what arrives.
func (a *answer) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.arrived.Len() == 0 && !a.ended {
		a.changed.Wait()
	}
	if a.arrived.Len() == 0 {
		return 0, io.EOF
	}
	return a.arrived.Read(p)
}

type head struct {
	status int
	sent   http.Header
}

// head waits for the first flush, or the end.
func (a *answer) head() head {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.begun {
		a.changed.Wait()
	}
	return head{a.status, a.sent}
}
