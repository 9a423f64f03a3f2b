package ssetest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/ssetest"

	"github.com/gin-gonic/gin"
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

func TestTheNextTickComesAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := ssetest.Get(t, http.HandlerFunc(ticks), "/")
		ssetest.Expect(t, stream).Event("message", "1 of ").Within(time.Second)
		ssetest.Expect(t, stream).NoMore().Within(time.Second - 1)
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

// c.Stream looks at the client between its steps, and at nothing else.
func TestGinStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router, ended := gin.New(), make(chan bool, 1)
		router.GET("/", func(c *gin.Context) {
			n := 0
			ended <- c.Stream(func(io.Writer) bool {
				n++
				c.SSEvent("count", n)
				time.Sleep(time.Second)
				return true
			})
		})
		s := ssetest.Get(t, router, "/")
		ssetest.Expect(t, s).Event("count", "1").Event("count", "2").Within(time.Second)
		ssetest.Expect(t, s).NoMore().Within(time.Second - 1)
		s.Close()
		if gone := <-ended; !gone {
			t.Error("c.Stream did not see that the client had gone")
		}
	})
}

// Some handlers notice only that writing fails.
func TestWritingToAClientThatHasGoneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ssetest.Get(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := fmt.Fprint(w, "data: x\n\n"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}), "/")
		s.NextEvent()
		s.Close()
	})
}

func TestAHandlerThatForgetsItsClientFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		failures := run(func(t testing.TB) {
			ssetest.Get(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				<-stuck
			}), "/stuck")
		})
		close(stuck)
		if len(failures) != 1 || failures[0] != "the handler of /stuck still runs 10s after its client has gone: it must watch the request's context" {
			t.Errorf("failures %q", failures)
		}
	})
}

// numbers counts up from the last event ID.
func numbers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	first, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	for n := first + 1; n <= first+2; n++ {
		_, _ = fmt.Fprintf(w, "data: %d\nid: %d\n\n", n, n)
		w.(http.Flusher).Flush()
	}
	<-r.Context().Done()
}

func TestResume(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(numbers))
	defer server.Close()
	for name, s := range map[string]*ssetest.Stream{
		"handler": ssetest.Get(t, http.HandlerFunc(numbers), "/"), "server": ssetest.Dial(t, server.URL),
	} {
		if s.NextEvent().Data != "1" || s.LastEventID() != "1" { // 2 may have arrived
			t.Errorf("%s: last event ID %q", name, s.LastEventID())
		}
		s = s.Resume()
		ssetest.Expect(t, s).Event("message", "2").Event("message", "3").Within(time.Minute)
		s.Close()
	}
}

func TestDialReportsWhatFails(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for url, want := range map[string]string{
		"http://%": "the URL of the stream: ", server.URL: "GET " + server.URL + ": ",
	} {
		if failures := run(func(t testing.TB) { ssetest.Dial(t, url) }); len(failures) != 1 || !strings.HasPrefix(failures[0], want) {
			t.Errorf("%s: failures %q, want %q", url, failures, want)
		}
	}
}

// So it can be used without the rest of Freshet, and without its modules.
func TestSsetestNeedsTheStandardLibraryAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(out)), " "); got != "freshet/event freshet/doctor freshet/ssetest" {
		t.Errorf("ssetest depends on %s", got)
	}
}
