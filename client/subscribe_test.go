package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/client"
	"freshet/event"

	"github.com/google/go-cmp/cmp"
)

// script is a server that answers each connection with the next function, and notes when
// and how it was asked.
type script struct {
	began   time.Time
	answers []func(w http.ResponseWriter, r *http.Request)
	asked   []string // "5s last=e-1 ticket=t"
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text := time.Since(s.began).Round(time.Second).String()
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		text += " last=" + id
	}
	if ticket := r.URL.Query().Get("ticket"); ticket != "" {
		text += " ticket=" + ticket
	}
	s.asked = append(s.asked, text)
	if len(s.asked) > len(s.answers) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.answers[len(s.asked)-1](w, r)
}

// stream answers with an event stream that then ends.
func stream(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		write(w, text)
	}
}

// hanging answers with an event stream that stays open.
func hanging(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		stream(text)(w, r)
		_ = http.NewResponseController(w).Flush() // the test sees it
		<-r.Context().Done()
	}
}

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, code, "code", strings.Join(header, "")) }
}

// follow runs the subscription against the script in fake time, to its end or for limit
// events, and returns the data of what was yielded.
func follow(t *testing.T, s *script, cfg client.Config, sub client.Subscription, limit int) (data []string, last error) {
	t.Helper()
	s.began = time.Now()
	c, closeAll := connect(t, s.ServeHTTP, cfg)
	defer closeAll()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for e, err := range c.Subscribe(ctx, sub) {
		if last != nil {
			t.Errorf("the loop went on after %v", last)
		}
		if last = err; err != nil {
			continue
		}
		if data = append(data, e.Data); len(data) == limit {
			break
		}
	}
	return data, last
}

func TestSubscribeResumes(t *testing.T) {
	for name, c := range map[string]struct {
		answers []func(http.ResponseWriter, *http.Request)
		sub     client.Subscription
		data    string
		asked   []string // each time may be a quarter later
		err     string
	}{
		"after the last event": {
			answers: []func(http.ResponseWriter, *http.Request){
				stream("retry: 10000\nid: e-1\n\ndata: a\nid: e-2\n\n"), stream("data: b\nid: e-3\n\n"),
			},
			data: "a b", asked: []string{"0s", "10s last=e-2", "20s last=e-3"},
		},
		"after a frame without data": {
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 10000\nid: e-7\n\ndata: cut off")},
			asked:   []string{"0s", "10s last=e-7"},
		},
		"where it began": {
			sub:     client.Subscription{LastEventID: "e-4"},
			answers: []func(http.ResponseWriter, *http.Request){stream("retry: 10000\n\n")},
			asked:   []string{"0s last=e-4", "10s last=e-4"},
		},
		"after a drain": {
			answers: []func(http.ResponseWriter, *http.Request){stream("id: e-1\n\nretry: 20000\nevent: drain\ndata: {}\n\n")},
			asked:   []string{"0s", "20s last=e-1"},
		},
		"when a full server says": {
			answers: []func(http.ResponseWriter, *http.Request){
				stream("retry: 8000\nevent: busy\ndata: {\"reason\":\"full\",\"retry_ms\":20000}\n\n"), stream("data: a\n\n"),
			},
			data: "a", asked: []string{"0s", "20s", "40s"},
		},
		"when a refusal says": {
			answers: []func(http.ResponseWriter, *http.Request){status(503, "40"), status(429, "40"), status(502), status(408)},
			asked:   []string{"0s", "40s", "80s", "82s", "86s"},
		},
		"from silence": {
			sub:     client.Subscription{Heartbeat: 4 * time.Second},
			answers: []func(http.ResponseWriter, *http.Request){hanging("retry: 10000\nid: e-1\n\n")},
			asked:   []string{"0s", "20s last=e-1"},
		},
		"from a connection that breaks": {
			answers: []func(http.ResponseWriter, *http.Request){
				func(w http.ResponseWriter, r *http.Request) {
					stream("retry: 10000\nid: e-1\n\n")(w, r)
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				},
			},
			asked: []string{"0s", "10s last=e-1"},
		},
		"from a page of something else": {
			answers: []func(http.ResponseWriter, *http.Request){
				func(w http.ResponseWriter, _ *http.Request) { write(w, "<p>Back soon.") },
			},
			asked: []string{"0s", "1s"},
		},
		"not, if the server refuses it": {
			answers: []func(http.ResponseWriter, *http.Request){status(400)},
			asked:   []string{"0s"}, err: "freshet: 400 code: no",
		},
		"not, without new credentials": {
			answers: []func(http.ResponseWriter, *http.Request){stream("data: a\n\nevent: auth-expired\ndata: {}\n\n")},
			data:    "a", asked: []string{"0s"}, err: "freshet: 401 auth-expired: the credentials have expired or were revoked",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				data, err := follow(t, s, client.Config{}, c.sub, 0)
				if got := strings.Join(data, " "); got != c.data {
					t.Errorf("read %q, want %q", got, c.data)
				}
				if (c.err == "") != (err == nil) || err != nil && err.Error() != c.err {
					t.Errorf("ended with %v, want %q", err, c.err)
				}
				checkAsked(t, c.asked, s.asked)
			})
		})
	}
}

// checkAsked compares requests. Each wait is random up to a quarter more, and backoff up to double.
func checkAsked(t *testing.T, want, got []string) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("asked at %q, want %q", got, want)
	}
	for i := range want {
		wantAt, wantRest, _ := strings.Cut(want[i], " ")
		gotAt, gotRest, _ := strings.Cut(got[i], " ")
		least, errLeast := time.ParseDuration(wantAt)
		at, errAt := time.ParseDuration(gotAt)
		if errLeast != nil || errAt != nil || wantRest != gotRest || at < least || at > 2*least+2*time.Second {
			t.Errorf("request %d: %q, want %q", i, got[i], want[i])
		}
	}
}

// New credentials are asked for once when they are refused, and when they expire.
func TestSubscribeRenewsTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expiring := func(w http.ResponseWriter, r *http.Request) {
			stream("retry: 1000\ndata: a\nid: e-1\n\n")(w, r)
			_ = http.NewResponseController(w).Flush()
			timer := time.NewTimer(30 * time.Second)
			defer timer.Stop()
			<-timer.C
			write(w, "event: auth-expired\ndata: {}\n\n")
		}
		s := &script{answers: []func(http.ResponseWriter, *http.Request){status(401), expiring, stream("data: b\n\n"), status(403), status(403)}}
		n := 0
		sub := client.Subscription{Ticket: func(context.Context) (string, error) {
			if n++; n == 4 {
				return "", errors.New("no tickets at the moment")
			}
			return fmt.Sprint("t", n), nil
		}}
		data, err := follow(t, s, client.Config{}, sub, 0)
		if got := strings.Join(data, " "); got != "a b" {
			t.Errorf("read %q", got)
		}
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
			t.Errorf("ended with %v", err)
		}
		checkAsked(t, []string{"0s ticket=t1", "0s ticket=t2", "30s last=e-1 ticket=t3", "31s last=e-1 ticket=t3", "32s last=e-1 ticket=t5"}, s.asked)
	})
}

// The reason reaches Disconnected, and each refusal is obeyed to the letter: no backoff grows from it.
func TestABusyServerIsNotAskedSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			write(w, `{"type":"busy","data":"{\"reason\":\"full\",\"retry_ms\":60000}","retry":60000}`+"\n")
		}
		s := &script{answers: []func(http.ResponseWriter, *http.Request){busy, busy, busy}}
		var reasons []string
		data, err := follow(t, s, client.Config{}, client.Subscription{
			LastEventID:  "e-4",
			Connected:    func() { reasons = append(reasons, "connected") },
			Disconnected: func(err error, _ time.Duration) { reasons = append(reasons, err.Error()) },
		}, 0)
		if want := "freshet: the server opens no stream now: full"; len(data) != 0 || err != nil || len(reasons) != 3 || reasons[0] != want {
			t.Errorf("read %q, %v; disconnected because %q, want three times %q", data, err, reasons, want)
		}
		checkAsked(t, []string{"0s last=e-4", "1m0s last=e-4", "2m0s last=e-4", "3m0s last=e-4"}, s.asked)
	})
}

func TestSubscribeTellsGapsAndTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := func(w http.ResponseWriter, r *http.Request) {
			if accept := r.Header.Get("Accept"); !strings.HasPrefix(accept, "application/x-ndjson") {
				t.Errorf("Accept: %s", accept)
			}
			if got := r.URL.Query()["topic"]; !slices.Equal(got, []string{"a.*", "b"}) || r.URL.Query().Get("since") != "10m" {
				t.Errorf("asked for %s", r.URL)
			}
			w.Header().Set("Content-Type", "application/x-ndjson")
			write(w, `{"id":"e-4","retry":1000}`+"\n")
			write(w, `{"id":"e-9","type":"gap","data":"{\"requested\":\"e-4\",\"first\":\"e-10\",\"resumed\":\"e-9\",\"reason\":\"expired\"}"}`+"\n")
			write(w, `{"id":"e-10","topic":"a.x","type":"t","time":"2026-01-02T03:04:05Z","data":""}`+"\n")
			write(w, `{"topic":"counter","type":"message","data":"1"}`+"\n")
			write(w, `{"id":"e-12"}`+"\n")
			write(w, `{"id":"e-13","topic":"b","type":"drain","data":"published"}`+"\n")
			write(w, `{"id":"e-14","topic":"b","typ`)
		}
		s := &script{answers: []func(http.ResponseWriter, *http.Request){answer}}
		c, closeAll := connect(t, s.ServeHTTP, client.Config{})
		defer closeAll()
		s.began = time.Now()
		var got []client.Event
		var lost error
		for e, err := range c.Subscribe(t.Context(), client.Subscription{
			Topics: []string{"a.*", "b"}, Since: "10m",
			Disconnected: func(err error, _ time.Duration) { lost = err },
		}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		epoch, err := event.ParseID("e-9")
		if err != nil {
			t.Fatal(err)
		}
		want := []client.Event{
			{
				ID: "e-9", OwnID: true, Type: "gap", Data: `{"requested":"e-4","first":"e-10","resumed":"e-9","reason":"expired"}`,
				Gap: &event.Gap{Requested: "e-4", First: event.NewID(epoch.Epoch(), 10), Resumed: epoch, Reason: event.GapExpired},
			},
			{ID: "e-10", OwnID: true, Topic: "a.x", Type: "t", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
			{ID: "e-13", OwnID: true, Topic: "b", Type: "drain", Data: "published"},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b event.ID) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
		checkAsked(t, []string{"0s", "1s last=e-13"}, s.asked)
		if lost == nil {
			t.Error("Disconnected was not called")
		}
	})
}

// Leaving the loop closes the connection.
func TestLeavingTheLoopClosesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		s := &script{answers: []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			hanging("data: a\n\n")(w, r)
		}}}
		if data, err := follow(t, s, client.Config{}, client.Subscription{}, 1); len(data) != 1 || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		<-gone
	})
}

func TestSubscribeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(http.ResponseWriter, *http.Request){hanging("id: e-1\n\n")}}
		data, err := follow(t, s, client.Config{}, client.Subscription{Heartbeat: -1}, 0)
		if len(data) != 0 || !errors.Is(err, context.DeadlineExceeded) || len(s.asked) != 1 {
			t.Errorf("%q, %v, %q", data, err, s.asked)
		}
	})
}

// A slow consumer is not a silent server.
func TestASlowConsumerKeepsItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(http.ResponseWriter, *http.Request){stream("data: a\n\ndata: b\n\n")}}
		c, closeAll := connect(t, s.ServeHTTP, client.Config{})
		defer closeAll()
		n := 0
		for _, err := range c.Subscribe(t.Context(), client.Subscription{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				time.Sleep(10 * time.Minute)
			}
		}
		if n != 2 || len(s.asked) != 2 { // the second finds the topics ended
			t.Errorf("%d events, asked %q", n, s.asked)
		}
	})
}

func TestErrorsDoNotContainTickets(t *testing.T) {
	c := newClient(t, client.Config{URL: "http://127.0.0.1:1"})
	_, err := c.Open(t.Context(), client.Subscription{Ticket: func(context.Context) (string, error) { return "secret", nil }})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error: %v", err)
	}
}
