package ssetest_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"freshet/ssetest"
)

// ticks counts up once a second and ends after three.
func ticks(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for n := 1; n <= 3; n++ {
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return
		}
		_, _ = fmt.Fprintf(w, "data: %d of %s\n\n", n, r.Header.Get("Last-Event-ID"))
		w.(http.Flusher).Flush()
	}
	w.Header().Set("X-Late", "not sent")
	_, _ = fmt.Fprint(w, "event: end\ndata\n\n") // arrives with the end, unflushed
}

func TestAStreamArrivesAsItIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := ssetest.Get(t, http.HandlerFunc(ticks), "/", "Last-Event-ID", "x")
		if s.Pending() == 0 || time.Since(began) != time.Second {
			t.Errorf("%d bytes of the first flush after %v", s.Pending(), time.Since(began))
		}
		if f := s.NextEvent(); f.Data != "1 of x" || time.Since(began) != time.Second {
			t.Errorf("%+v after %v", f, time.Since(began))
		}
		if s.Status() != http.StatusOK || s.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("%d %v", s.Status(), s.Header())
		}
		rest := s.Rest()
		if len(rest) != 3 || rest[1].Data != "3 of x" || rest[2].Type != "end" || s.Header().Get("X-Late") != "" {
			t.Errorf("the rest: %+v", rest)
		}
	})
}

func TestCloseEndsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		s := ssetest.Get(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), "/")
		s.Close()
		<-ended
		if frames := s.Rest(); len(frames) != 0 {
			t.Errorf("frames %+v", frames)
		}
	})
}

func TestBodyAndLine(t *testing.T) {
	s := ssetest.Get(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprint(w, "one\ntwo\nthree")
	}), "/")
	if line, body := s.Line(), s.Body(); line != "one" || body != "two\nthree" || s.Status() != http.StatusTeapot {
		t.Errorf("line %q, body %q, status %d", line, body, s.Status())
	}
}
