package ssetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

var (
	errReturned     = errors.New("ssetest: write after the handler returned")
	errDisconnected = errors.New("ssetest: the client has disconnected")
)

// recorder is the ResponseWriter of the handler and the reader of the test.
type recorder struct {
	header http.Header // the handler's
	gone   chan bool   // gets one value when the client disconnects

	mu           sync.Mutex
	changed      *sync.Cond
	status       int
	sent         http.Header  // the headers as they were when the status was written
	written      bytes.Buffer // not flushed yet
	arrived      bytes.Buffer
	flushed      bool
	ended        bool
	disconnected bool
}

// record runs the handler until it returns. The request's end disconnects the client. done is closed when the handler has returned.
func record(handler http.Handler, r *http.Request) (rec *recorder, done chan struct{}) {
	rec, done = &recorder{header: http.Header{}, gone: make(chan bool, 1)}, make(chan struct{})
	rec.changed = sync.NewCond(&rec.mu)
	context.AfterFunc(r.Context(), rec.disconnect)
	go func() {
		defer close(done)
		defer rec.finish()
		handler.ServeHTTP(rec, r)
	}()
	rec.waitFlush()
	return rec, done
}

func (r *recorder) Header() http.Header { return r.header }

// CloseNotify is for Gin's c.Stream, which panics without it.
func (r *recorder) CloseNotify() <-chan bool { return r.gone }

func (r *recorder) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeHeader(status)
}

func (r *recorder) writeHeader(status int) {
	if r.status == 0 {
		r.status, r.sent = status, r.header.Clone()
	}
}

// Write fails after the client has disconnected, as with a real connection: some handlers look at nothing else.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		return 0, errReturned
	case r.disconnected:
		return 0, errDisconnected
	}
	r.writeHeader(http.StatusOK)
	return r.written.Write(p)
}

// Flush makes the written bytes arrive.
func (r *recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeHeader(http.StatusOK)
	_, _ = r.written.WriteTo(&r.arrived) // cannot fail between buffers
	r.flushed = true
	r.changed.Broadcast()
}

func (r *recorder) disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disconnected = true
	r.gone <- true // it has room for the only value
}

func (r *recorder) finish() {
	r.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.changed.Broadcast()
}

// Read waits for bytes to arrive.
func (r *recorder) Read(p []byte) (int, error) {
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
func (r *recorder) waitFlush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.flushed {
		r.changed.Wait()
	}
}

func (r *recorder) pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived.Len()
}
