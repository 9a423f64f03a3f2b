package ssetest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/ssetest"
)

// script writes each text after a second, and then waits for the client to go, or returns.
func script(stays bool, texts ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.(http.Flusher).Flush()
		for _, text := range texts {
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return
			}
			_, _ = fmt.Fprint(w, text)
			w.(http.Flusher).Flush()
		}
		if stays {
			<-r.Context().Done()
		}
	})
}

const gap = "event: gap\ndata: {\"requested\":\"x\",\"reason\":\"unknown\"}\n\n"

func TestWhatIsExpectedArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := ssetest.Get(t, script(true, gap, "event: news\ndata: hello\nid: 7\n\n", "data\n\n", ":\n\n"), "/")
		events := ssetest.Expect(t, s).Gap().Event("news", "hello").Event("message", "").Within(3 * time.Second)
		if len(events) != 3 || events[1].ID != "7" || s.LastEventID() != "7" {
			t.Errorf("events %+v, last ID %q", events, s.LastEventID())
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the events took %v", took)
		}
		ssetest.Expect(t, s).NoMore().Within(time.Hour)
		if took := time.Since(began); took != time.Hour+3*time.Second {
			t.Errorf("silence ended after %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := ssetest.Get(t, script(false, "data: 1\n\n", "data: 2\n\n"), "/")
		ssetest.Expect(t, s).Event("message", "1").Within(time.Second)
		ssetest.Expect(t, s).NoMore().Within(time.Second - 1)
		ssetest.Expect(t, s).Event("message", "2").End().Within(1)
	})
}

func TestFailuresOfExpectations(t *testing.T) {
	ten := make([]string, 0, 10)
	for i := range 10 {
		ten = append(ten, fmt.Sprintf("data: %d\nid: %d\n\n", i, i))
	}
	long := strings.Repeat("x", 300)
	for want, expect := range map[string]func(t testing.TB){
		`want event news "hello", but got event news "hullo" (id 5); no event was read before`: func(t testing.TB) {
			s := ssetest.Get(t, script(true, "event: news\ndata: hullo\nid: 5\n\n"), "/")
			ssetest.Expect(t, s).Event("news", "hello").Within(time.Minute)
		},
		`want event message "9", but got event message "8" (id 8); read before: message "3" (id 3), message "4" (id 4), message "5" (id 5), message "6" (id 6), message "7" (id 7)`: func(t testing.TB) {
			s := ssetest.Get(t, script(true, ten...), "/")
			for range 8 {
				s.NextEvent()
			}
			ssetest.Expect(t, s).Event("message", "9").Within(time.Minute)
		},
		`want event message "2", but nothing arrived within 1s; read before: message "1"`: func(t testing.TB) {
			s := ssetest.Get(t, script(true, "data: 1\n\n", "data: 2\n\n"), "/")
			ssetest.Expect(t, s).Event("message", "1").Event("message", "2").Within(time.Second)
		},
		`want event message "2", but the stream ended; read before: message "1"`: func(t testing.TB) {
			s := ssetest.Get(t, script(false, "data: 1\n\n"), "/")
			ssetest.Expect(t, s).Event("message", "1").Event("message", "2").Within(time.Minute)
		},
		`want no more events, but got event message "2"; read before: message "1"`: func(t testing.TB) { // at the last moment
			s := ssetest.Get(t, script(true, "data: 1\n\n", "data: 2\n\n"), "/")
			ssetest.Expect(t, s).Event("message", "1").NoMore().Within(time.Second)
		},
		`want no more events, but the stream ended; no event was read before`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(false), "/")).NoMore().Within(time.Second)
		},
		`want the end of the stream, but nothing arrived within 1s; no event was read before`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true), "/")).End().Within(time.Second)
		},
		`want a gap, but got event gap "{}"; no event was read before`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true, "event: gap\ndata: {}\n\n"), "/")).Gap().Within(time.Second)
		},
		`want event message "y", but got event message "` + long[:200] + `"… (300 bytes); no event was read before`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true, "data: "+long+"\n\n"), "/")).Event("message", "y").Within(time.Second)
		},
		`want no more events, but the response is no event stream: its status is 404, its Content-Type "text/plain; charset=utf-8"`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, http.NotFoundHandler(), "/")).NoMore().Within(time.Second)
		},
		`Expect: Within(0s) proves nothing; use a time above 0`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true), "/")).NoMore().Within(0)
		},
		`Expect: nothing is expected; use Event, Gap, NoMore or End`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true), "/")).Within(1)
		},
		`Expect: nothing can follow NoMore and End`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true), "/")).NoMore().Event("message", "1").Within(1)
		},
		`Expect without Within checks nothing; end it with Within`: func(t testing.TB) {
			ssetest.Expect(t, ssetest.Get(t, script(true), "/")).Event("message", "1")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			failures := run(expect)
			if len(failures) != 1 || failures[0] != want && !strings.Contains(failures[0], "expect_test.go:") || !strings.HasSuffix(failures[0], want) {
				t.Errorf("failures %q, want %q", failures, want)
			}
		})
	}
}

// A broken connection is neither silence nor the stream's end.
func TestABrokenStreamIsNoEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	const want = `want the end of the stream, but the stream broke: unexpected EOF; read before: message "1"`
	if failures := run(func(t testing.TB) {
		ssetest.Expect(t, ssetest.Dial(t, server.URL)).Event("message", "1").End().Within(time.Minute)
	}); len(failures) != 1 || failures[0] != want {
		t.Errorf("failures %q", failures)
	}
}
