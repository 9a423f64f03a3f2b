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

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/eventlog"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/middleware"
	"freshet/ssetest"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
)

const appPage = "https://app.example"

// ticketed gives the server tickets.
func ticketed(t *testing.T, store ticket.Store) func(*handlers.Config) {
	t.Helper()
	tickets, err := ticket.New(t.Context(), ticket.Config{Store: store})
	must(t, err)
	return func(cfg *handlers.Config) { cfg.Tickets = tickets }
}

type ticketAnswer struct {
	Ticket, ID, Subject, Origin, URL string
	Topics                           []string
	Expires                          time.Time
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
		s := newServer(t, ticketed(t, eventlogtest.NewStore()))
		a := s.issue(t, "news", "orders.*")
		if a.URL != "/event?ticket="+a.Ticket || len(a.Topics) != 2 || a.Origin != appPage || a.ID == "" || a.Subject != "operator" || !a.Expires.Equal(time.Now().Add(time.Hour)) {
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
			"/event?ticket=":        400,
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
		pass(time.Hour)
		if f := one.NextEvent(); f.Type != "auth-expired" {
			t.Errorf("at the expiry: %+v", f)
		}
		if rest := one.Rest(); len(rest) > 0 {
			t.Errorf("after the expiry: %+v", rest)
		}
		if w := s.as("GET", a.URL, "Origin", appPage); w.Code != 401 || !strings.Contains(w.Body.String(), "POST /ticket") {
			t.Errorf("an expired ticket: %d %s", w.Code, w.Body)
		}
	})
}

func TestWhoGetsATicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ticketed(t, eventlogtest.NewStore()))
		for _, c := range []struct {
			body, origin string
			status       int
			want         string
		}{
			{``, appPage, 201, `"topics":[">"],"origin":"https://app.example"`},
			{`{"topics":["a.*"],"origin":"HTTPS://App.example:443/"}`, "", 201, `"topics":["a.*"],"origin":"https://app.example"`},
			{`{"origin":"https://app.example"}`, "null", 201, `"origin":"https://app.example"`},
			{`{"lifetime":"90m"}`, appPage, 201, time.Now().Add(90 * time.Minute).UTC().Format(`"expires":"2006-01-02T15:04:05Z"`)},
			{`{"lifetime":"1d"}`, appPage, 201, time.Now().Add(24 * time.Hour).UTC().Format(`"expires":"2006-01-02T15:04:05Z"`)},
			{`{"lifetime":"24h1s"}`, appPage, 400, "invalid_lifetime"},
			{`{"lifetime":"-1h"}`, appPage, 400, "invalid_lifetime"},
			{`{"lifetime":"0"}`, appPage, 400, "invalid_lifetime"},
			{`{"lifetime":"1 hour"}`, appPage, 400, `must be \"1s\" to \"24h\"`},
			{`{"lifetime":60}`, appPage, 400, "malformed"},
			{``, "", 400, "invalid_origin"},
			{``, "null", 400, "invalid_origin"},
			{`{"origin":"*"}`, "", 400, "invalid_origin"},
			{`{"origin":"https://other.example"}`, appPage, 400, "must be the origin of the page"},
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
		for _, line := range []string{"POST /ticket", "DELETE /ticket/x", "DELETE /ticket?subject=x"} {
			method, target, _ := strings.Cut(line, " ")
			if w := s.as(method, target); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s without a token: %d %s", line, w.Code, w.Body)
			}
		}
	})
}

// A browser has to come back while the revocations are not known. Once they are, the store may be away.
func TestTicketsWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventlogtest.NewStore()
		a := newServer(t, ticketed(t, store)).issue(t, "news")
		store.Hide(true)
		s := newServer(t, ticketed(t, store))
		if w := s.as("GET", a.URL, "Origin", appPage, "Accept", "text/event-stream"); w.Code != 200 || !strings.Contains(w.Body.String(), "retry: ") {
			t.Errorf("a stream: %d %s", w.Code, w.Body)
		}
		for _, target := range []string{a.URL, "/history?ticket=" + a.Ticket} {
			if w := s.as("GET", target, "Origin", appPage); w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", target, w.Code, w.Body)
			}
		}
		if w := s.do("POST", "/ticket", "", "Origin", appPage); w.Code != 503 {
			t.Errorf("a ticket: %d %s", w.Code, w.Body)
		}
		store.Hide(false)
		synctest.Wait()
		store.Fail(eventlog.ErrUnavailable)
		if w := s.as("GET", "/history?ticket="+a.Ticket, "Origin", appPage); w.Code != 200 {
			t.Errorf("verified without the store: %d %s", w.Code, w.Body)
		}
		if w := s.do("POST", "/ticket", "", "Origin", appPage); w.Code != 201 {
			t.Errorf("issued without the store: %d %s", w.Code, w.Body)
		}
		if w := s.do("DELETE", "/ticket/"+a.ID, ""); w.Code != 503 || !strings.Contains(w.Body.String(), "log_unavailable") {
			t.Errorf("revoked: %d %s", w.Code, w.Body)
		}
		store.Fail(eventlog.ErrFull)
		if w := s.do("DELETE", "/ticket/"+a.ID, ""); w.Code != 507 || !strings.Contains(w.Body.String(), "tickets_full") {
			t.Errorf("revoked: %d %s", w.Code, w.Body)
		}
	})
}

// No log record contains a ticket, also when its stream ends or is refused.
func TestTicketsAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		store := eventlogtest.NewStore()
		tickets, err := ticket.New(t.Context(), ticket.Config{Store: store, Logger: logger})
		must(t, err)
		s := newServer(t, func(cfg *handlers.Config) { cfg.Tickets, cfg.Logger = tickets, logger })
		r := gin.New()
		r.Use(middleware.RequestID(), middleware.Log(logger, handlers.PublicParameters()))
		r.Any("/*all", gin.WrapH(s))
		a := s.issue(t, "news")
		for _, target := range []string{a.URL, "/event/other?ticket=" + a.Ticket, "/history?ticket=" + a.Ticket, "/event?a=%2&ticket=" + a.Ticket, "/ticket/" + a.Ticket} {
			stream := ssetest.Get(t, r, target, "Origin", appPage, "Referer", appPage+"/?ticket="+a.Ticket)
			synctest.Wait()
			stream.Close()
		}
		stream := ssetest.Get(t, r, a.URL, "Origin", appPage)
		stream.Next()
		if w := s.do("DELETE", "/ticket/"+a.ID, ""); w.Code != 204 {
			t.Errorf("revoked: %d %s", w.Code, w.Body)
		}
		synctest.Wait()
		stream.Close()
		pass(15 * time.Second)
		text, signature := logged.String(), a.Ticket[strings.LastIndex(a.Ticket, ".")+1:]
		if strings.Count(text, "\n") < 6 || strings.Contains(text, signature) || strings.Contains(store.Text(), signature) {
			t.Errorf("the ticket %s is in\n%s\n%s", a.Ticket, text, store.Text())
		}
	})
}

// ticketStream opens a stream with a ticket of its own.
func (s *tcpServer) ticketStream(ctx context.Context, t *testing.T, caller auth.Caller, lifetime time.Duration) (issued ticket.Ticket, r *tcpReader) {
	t.Helper()
	token, issued, err := s.tickets.Issue(ctx, caller, ticket.Request{Origin: appPage, Topics: eventlogtest.Patterns(t, "news"), Lifetime: lifetime})
	must(t, err)
	return issued, openTCP(ctx, t, s.URL+"/event/news?ticket="+token, 0, "Origin", appPage)
}

// expires reads to the end of a stream that is ended because its reader may read no longer.
func expires(t *testing.T, r *tcpReader) {
	t.Helper()
	next(t, r, "auth-expired")
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last event: %v", err)
	}
}

func TestTheEndOfATicketsStreams(t *testing.T) {
	onBothPaths(t, 1<<20, func(ctx context.Context, t *testing.T, s *tcpServer) {
		keys := keysFor(t)
		alice, bob := holder(t, keys, "alice", nil, []string{"news"}), holder(t, keys, "bob", nil, []string{"news"})
		short, ends := s.ticketStream(ctx, t, alice, 2*time.Second)
		one, gone := s.ticketStream(ctx, t, alice, 0)
		_, bobs := s.ticketStream(ctx, t, bob, 0)
		_, stays := s.ticketStream(ctx, t, alice, 0)
		s.settled(ctx, t, 4)
		must(t, s.tickets.Revoke(ctx, alice, one.ID))
		expires(t, gone)
		must(t, s.tickets.RevokeSubject(ctx, bob, bob.Subject()))
		expires(t, bobs)
		if left := time.Until(short.Expires); left < 0 {
			t.Logf("the revocations took until %v after the expiry", -left)
		}
		expires(t, ends)
		if time.Now().Before(short.Expires) {
			t.Error("the stream ended before its ticket expired")
		}
		s.log.Publish(t, "news", "1")
		if f := next(t, stays, "news"); f.Data != "1" {
			t.Errorf("event %+v", f)
		}
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
		if err := apptest.Until(ctx, func() bool { return s.hub.Stats().Subscribers == 1 }); err != nil {
			t.Error("a stream that was ended is still a subscriber")
		}
	})
}

// A ticket for a page's stop button publishes to one topic, and does nothing else.
func TestATicketThatPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ticketed(t, eventlogtest.NewStore()))
		w := s.do("POST", "/ticket", `{"publish":["answers.17.stop"],"origin":"`+appPage+`"}`)
		var a ticketAnswer
		must(t, json.Unmarshal(w.Body.Bytes(), &a))
		if w.Code != 201 || len(a.Topics) != 0 || !strings.Contains(w.Body.String(), `"publish":["answers.17.stop"]`) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, c := range []struct {
			request, origin string
			status          int
		}{
			{"POST /event/answers.17.stop", appPage, 201},
			{"POST /event/answers.17.stop", "https://other.example", 403},
			{"POST /event/answers.18.stop", appPage, 403},
			{"POST /event", appPage, 400},
			{"DELETE /event/answers.17.stop", appPage, 400},
			{"GET /event/answers.17.stop", appPage, 403},
			{"GET /history", appPage, 403},
		} {
			method, target, _ := strings.Cut(c.request, " ")
			if w := s.as(method, target+"?ticket="+a.Ticket, "Origin", c.origin); w.Code != c.status {
				t.Errorf("%s from %s: %d %s", c.request, c.origin, w.Code, w.Body)
			}
		}
		s.do("DELETE", "/ticket/"+a.ID, "")
		synctest.Wait()
		if w := s.as("POST", "/event/answers.17.stop?ticket="+a.Ticket, "Origin", appPage); w.Code != 401 {
			t.Errorf("a revoked ticket: %d %s", w.Code, w.Body)
		}
		reader := s.issue(t, "answers.>")
		if w := s.as("POST", "/event/answers.17?ticket="+reader.Ticket, "Origin", appPage); w.Code != 403 {
			t.Errorf("a ticket for reading: %d %s", w.Code, w.Body)
		}
	})
}
