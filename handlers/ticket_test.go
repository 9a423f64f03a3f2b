package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/bench/drive"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/middleware"
	"freshet/ssetest"

	"github.com/gin-gonic/gin"
)

const appPage = "https://app.example"

// ticketed gives the server tickets.
func ticketed(t *testing.T, store auth.TicketStore) func(*handlers.Config) {
	t.Helper()
	tickets, err := auth.NewTickets(auth.TicketsConfig{Store: store})
	must(t, err)
	return func(cfg *handlers.Config) { cfg.Tickets = tickets }
}

type ticketAnswer struct {
	Ticket, ID, Origin, URL string
	Topics                  []string
}

// issue gets a ticket, as a back end does.
func (s *server) issue(t *testing.T, topics ...string) ticketAnswer {
	t.Helper()
	body, err := json.Marshal(map[string]any{"topics": topics, "origin": appPage})
	must(t, err)
	w := s.do("POST", "/ticket", string(body))
	var a ticketAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusCreated || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("a ticket: %d %v %s", w.Code, w.Header(), w.Body)
	}
	return a
}

// as sends a request without the publisher's token.
func (s *server) as(method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestATicketOpensAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ticketed(t, eventlogtest.NewTickets()))
		a := s.issue(t, "news", "orders.*")
		if a.URL != "/event?ticket="+a.Ticket || len(a.Topics) != 2 || a.Origin != appPage || a.ID == "" || strings.Contains(a.Ticket, a.ID) {
			t.Errorf("the answer is %+v", a)
		}
		stream := ssetest.Get(t, s, a.URL, "Origin", appPage)
		stream.Next()
		s.log.Publish(t, "secret", "1")
		s.log.Publish(t, "news", "2")
		s.log.Publish(t, "orders.new", "3")
		for _, want := range []string{"2", "3"} {
			f := stream.NextEvent()
			for f.Type == "message" {
				f = stream.NextEvent() // a count
			}
			if f.Data != want {
				t.Errorf("event %+v, want %s", f, want)
			}
		}
		stream.Close()
		if w := s.as("GET", "/history?ticket="+a.Ticket, "Origin", appPage); w.Code != 200 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "orders.new") {
			t.Errorf("history: %d %s", w.Code, w.Body)
		}
		for target, want := range map[string]int{
			"/event/secret?ticket=" + a.Ticket:               403,
			"/event?topic=news&topic=%3E&ticket=" + a.Ticket: 403,
			"/history?topic=secret&ticket=" + a.Ticket:       403,
			"/event?ticket=":        401,
			"/event?ticket=" + a.ID: 401,
			"/event?ticket=" + a.Ticket + "&ticket=" + a.Ticket:     400,
			"/history?ticket=" + strings.Repeat("A", len(a.Ticket)): 401,
		} {
			w := s.as("GET", target, "Origin", appPage, "Accept", "text/event-stream")
			if w.Code != want || strings.Contains(w.Body.String(), a.Ticket) {
				t.Errorf("%s: %d %s", target, w.Code, w.Body)
			}
		}
		if w := s.as("GET", a.URL, "Origin", "https://evil.example"); w.Code != 403 {
			t.Errorf("of another origin: %d %s", w.Code, w.Body)
		}
		if w := s.do("GET", a.URL, "", "Origin", appPage); w.Code != 400 {
			t.Errorf("with a bearer token beside it: %d %s", w.Code, w.Body)
		}
		one := ssetest.Get(t, s, "/event/news?ticket="+a.Ticket, "Origin", appPage)
		one.Next()
		pass(2 * time.Minute)
		one.Close()
		pass(61 * time.Second)
		if w := s.as("GET", a.URL, "Origin", appPage); w.Code != 401 || !strings.Contains(w.Body.String(), "POST /ticket") {
			t.Errorf("of a dead ticket: %d %s", w.Code, w.Body)
		}
	})
}

func TestWhoGetsATicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ticketed(t, eventlogtest.NewTickets()))
		for _, c := range []struct {
			body, origin string
			status       int
			want         string
		}{
			{``, appPage, 201, `"topics":[">"],"origin":"https://app.example"`},
			{`{"topics":["a.*"],"origin":"HTTPS://App.example:443/"}`, "", 201, `"topics":["a.*"],"origin":"https://app.example"`},
			{`{"origin":"https://app.example"}`, "null", 201, `"origin":"https://app.example"`},
			{``, "", 400, "invalid_origin"},
			{``, "null", 400, "invalid_origin"},
			{`{"origin":"*"}`, "", 400, "invalid_origin"},
			{`{"origin":"https://other.example"}`, appPage, 400, "of the page that asks"},
			{`{"topics":[]}`, appPage, 400, "invalid_topics"},
			{`{"topics":["a b"]}`, appPage, 400, "invalid_topic"},
			{`{"topics":["a","a","a","a","a","a"]}`, appPage, 400, "invalid_topics"},
			{`{"topic":["a"]}`, appPage, 400, "malformed"},
			{`{} {}`, appPage, 400, "malformed"},
			{`"` + strings.Repeat("x", 40_000) + `"`, appPage, 413, "too_large"},
		} {
			w := s.do("POST", "/ticket", c.body, "Origin", c.origin)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%.50s from %q: %d %.300s", c.body, c.origin, w.Code, w.Body)
			}
		}
		for _, line := range []string{"POST /ticket", "POST /ticket/x", "DELETE /ticket/x"} {
			method, target, _ := strings.Cut(line, " ")
			if w := s.as(method, target); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s without a token: %d %s", line, w.Code, w.Body)
			}
		}
		unknown := strings.Repeat("A", 22)
		if w := s.do("POST", "/ticket/"+unknown, ""); w.Code != 404 || !strings.Contains(w.Body.String(), "no_ticket") {
			t.Errorf("extended: %d %s", w.Code, w.Body)
		}
		if w := s.do("DELETE", "/ticket/"+unknown, ""); w.Code != 204 {
			t.Errorf("revoked: %d %s", w.Code, w.Body)
		}
	})
}

// While the store is away a browser is told to come back; only a bad ticket stops it.
func TestTicketsWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventlogtest.NewTickets()
		s := newServer(t, ticketed(t, store))
		a := s.issue(t, "news")
		synctest.Wait()
		store.Fail(eventlog.ErrUnavailable)
		if w := s.as("GET", a.URL, "Origin", appPage, "Accept", "text/event-stream"); w.Code != 200 || !strings.Contains(w.Body.String(), "retry: ") {
			t.Errorf("a stream: %d %s", w.Code, w.Body)
		}
		if w := s.do("POST", "/ticket", "", "Origin", appPage); w.Code != 503 {
			t.Errorf("a ticket: %d %s", w.Code, w.Body)
		}
		store.Fail(eventlog.ErrFull)
		if w := s.do("POST", "/ticket", "", "Origin", appPage); w.Code != 507 || !strings.Contains(w.Body.String(), "tickets_full") {
			t.Errorf("a ticket: %d %s", w.Code, w.Body)
		}
	})
}

// What opened a stream is in no record of the log, also when it ends or is refused.
func TestTicketsAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		store := eventlogtest.NewTickets()
		tickets, err := auth.NewTickets(auth.TicketsConfig{Store: store, Logger: logger})
		must(t, err)
		s := newServer(t, func(cfg *handlers.Config) { cfg.Tickets, cfg.Logger = tickets, logger })
		r := gin.New()
		r.Use(middleware.RequestID(), middleware.Log(logger))
		r.Any("/*all", gin.WrapH(s))
		a := s.issue(t, "news")
		for _, target := range []string{a.URL, "/event/other?ticket=" + a.Ticket, "/history?ticket=" + a.Ticket, "/event?a=%2&ticket=" + a.Ticket, "/ticket/" + a.Ticket} {
			stream := ssetest.Get(t, r, target, "Origin", appPage, "Referer", appPage+"/?ticket="+a.Ticket)
			synctest.Wait()
			stream.Close()
		}
		store.Fail(eventlog.ErrUnavailable)
		pass(15 * time.Second)
		if text := logged.String(); strings.Count(text, "\n") < 6 || strings.Contains(text, a.Ticket) || strings.Contains(store.Text(), a.Ticket) {
			t.Errorf("the ticket %s is in\n%s\n%s", a.Ticket, text, store.Text())
		}
	})
}

// ticketStream opens a stream by a ticket of its own.
func (s *tcpServer) ticketStream(ctx context.Context, t *testing.T, expires time.Time) (id string, r *drive.Reader) {
	t.Helper()
	secret, ticket, err := s.tickets.Issue(ctx, auth.Ticket{Origin: appPage, Topics: eventlogtest.Patterns(t, "news"), Expires: expires}, false)
	must(t, err)
	r, err = drive.Open(ctx, drive.Request{URL: s.URL + "/event/news?ticket=" + secret, Header: http.Header{"Origin": {appPage}}})
	must(t, err)
	t.Cleanup(r.Close)
	return ticket.ID, r
}

// expires reads to the end of a stream that is ended because its reader may read no longer.
func expires(t *testing.T, r *drive.Reader) {
	t.Helper()
	next(t, r, "auth-expired")
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last event: %v", err)
	}
}

func TestTheEndOfATicketsStreams(t *testing.T) {
	onBothPaths(t, 1<<20, func(ctx context.Context, t *testing.T, s *tcpServer) {
		soon := time.Now().Add(time.Second).Truncate(time.Millisecond) // as it is stored
		_, short := s.ticketStream(ctx, t, soon)
		extended, long := s.ticketStream(ctx, t, soon)
		revoked, gone := s.ticketStream(ctx, t, time.Time{})
		_, stays := s.ticketStream(ctx, t, time.Time{})
		s.settled(ctx, t, 4)
		if _, ok, err := s.tickets.Extend(ctx, extended, soon.Add(time.Hour)); !ok || err != nil {
			t.Errorf("extended: %v, %v", ok, err)
		}
		must(t, s.tickets.Revoke(ctx, revoked))
		expires(t, gone)
		if left := time.Until(soon); left < 0 {
			t.Logf("the revocation took until %v after the expiry", -left)
		}
		expires(t, short)
		if time.Now().Before(soon) {
			t.Error("the stream ended before its token expired")
		}
		s.log.Publish(t, "news", "1")
		for _, r := range []*drive.Reader{long, stays} {
			if f := next(t, r, "news"); f.Data != "1" {
				t.Errorf("event %+v", f)
			}
		}
		must(t, s.tickets.Revoke(ctx, extended))
		expires(t, long)
		ended := 0
		for ended < 3 {
			select {
			case record := <-s.records:
				if record["msg"] == "stream closed" {
					if ended++; record["reason"] != "auth-expired" {
						t.Errorf("the record says %v", record)
					}
				}
			case <-ctx.Done():
				t.Fatal("the streams' ends are not logged")
			}
		}
		if err := drive.Until(ctx, func() bool { return s.hub.Stats().Subscribers == 1 }); err != nil {
			t.Error("a stream that was ended is still a subscriber")
		}
	})
}
