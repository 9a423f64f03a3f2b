package e2e_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// front is a proxy at one address that tests can make fail.
type front struct {
	URL                      string
	open, opened, preflights atomic.Int64 // streams now, streams ever, CORS preflights

	mu      sync.Mutex
	backend *url.URL
	instead string                    // the front's own answer: a status, or the body of an event stream
	times   map[string]int            // of each answer
	streams map[*streamThrough]func() // the functions cut them
}

func newFront(t *testing.T, backend string) *front {
	t.Helper()
	f := &front{times: map[string]int{}, streams: map[*streamThrough]func(){}}
	f.to(backend)
	server := httptest.NewServer(f)
	t.Cleanup(func() {
		f.cut()
		server.CloseClientConnections()
		server.Close()
	})
	f.URL = server.URL
	return f
}

func (f *front) to(backend string) {
	u, err := url.Parse(backend)
	if err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backend = u
}

// answer makes the front answer requests for streams itself.
func (f *front) answer(instead string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = instead
}

func (f *front) asked(instead string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.times[instead]
}

// cut breaks all streams.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, end := range f.streams {
		end()
	}
}

// hold makes the open streams silent.
func (f *front) hold(held bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		s.held.Store(held)
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	backend, instead := f.backend, f.instead
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, // at once
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	if r.Method == http.MethodOptions {
		f.preflights.Add(1)
	}
	if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/event") {
		f.mu.Unlock()
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 always is; else net/http drops lines once the response begins
		proxy.ServeHTTP(w, r)
		return
	}
	f.times[instead]++
	ctx, end := context.WithCancel(r.Context())
	stream := &streamThrough{ResponseWriter: w}
	f.streams[stream] = end
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, stream)
		end()
	}()
	f.opened.Add(1)
	f.open.Add(1)
	defer f.open.Add(-1)

	switch {
	case instead != "":
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if status, err := strconv.Atoi(instead); err == nil {
			http.Error(w, "away", status)
			return
		}
		w.Header().Set("Content-Type", cmp.Or(map[bool]string{true: "application/x-ndjson"}[instead[0] == '{'], "text/event-stream"))
		_, _ = io.WriteString(w, instead)
	default:
		defer func() {
			if p := recover(); p != nil && ctx.Err() == nil {
				panic(p)
			} else if ctx.Err() != nil && r.Context().Err() == nil {
				panic(http.ErrAbortHandler) // in the middle, for the browser to see
			}
		}()
		proxy.ServeHTTP(stream, r.WithContext(ctx))
	}
}

// streamThrough is a stream that passes the front.
type streamThrough struct {
	http.ResponseWriter
	held atomic.Bool
}

func (s *streamThrough) Write(p []byte) (int, error) {
	if s.held.Load() {
		return len(p), nil
	}
	return s.ResponseWriter.Write(p)
}

func (s *streamThrough) Unwrap() http.ResponseWriter { return s.ResponseWriter }
