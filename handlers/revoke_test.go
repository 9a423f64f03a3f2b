package handlers_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/hub"
	"freshet/ssetest"
)

func TestRevokingTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ticketed(t, eventlogtest.NewStore()))
		keys := keysFor(t)
		alice, bob := holder(t, keys, "alice", nil, []string{"news"}), holder(t, keys, "bob", nil, []string{"news"})
		ask := func(caller auth.Caller, method, target string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(method, target, nil)
			r.Header.Set("Origin", appPage)
			s.by(caller).ServeHTTP(w, r)
			return w
		}
		issue := func(caller auth.Caller) (a ticketAnswer) {
			w := ask(caller, "POST", "/ticket")
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 201 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return a
		}
		refused := func(a ticketAnswer) bool {
			return s.as("GET", "/history?ticket="+a.Ticket, "Origin", appPage).Code == 401
		}
		first, second, bobs := issue(alice), issue(alice), issue(bob)
		for _, c := range []struct {
			caller         auth.Caller
			method, target string
			status         int
			want           string
		}{
			{bob, "DELETE", "/ticket/" + first.ID, 403, "another subject"},
			{bob, "DELETE", "/ticket?subject=" + first.Subject, 403, "another subject"},
			{alice, "DELETE", "/ticket/" + first.ID[1:], 404, "no_ticket"},
			{alice, "DELETE", "/ticket/" + first.Ticket, 404, "no_ticket"},
			{alice, "DELETE", "/ticket", 400, "invalid_subject"},
			{alice, "POST", "/ticket/" + first.ID, 404, "not_found"},
		} {
			if w := ask(c.caller, c.method, c.target); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%s %s: %d %s", c.method, c.target, w.Code, w.Body)
			}
		}
		if refused(first) || refused(second) || refused(bobs) {
			t.Error("a refused revocation revokes")
		}
		stream := ssetest.Get(t, s, first.URL+"&topic=news", "Origin", appPage)
		stream.Next()
		for range 2 {
			if w := ask(alice, "DELETE", "/ticket/"+first.ID); w.Code != 204 {
				t.Errorf("revoked: %d %s", w.Code, w.Body)
			}
		}
		began := time.Now()
		if f := stream.NextEvent(); f.Type != "auth-expired" || time.Since(began) > time.Second || !refused(first) || refused(second) || refused(bobs) {
			t.Errorf("revoked, and the stream sends %+v", f)
		}
		// The operator needs the ID or the subject alone.
		if w := s.do("DELETE", "/ticket/"+bobs.ID, ""); w.Code != 204 || !refused(bobs) || refused(second) {
			t.Errorf("revoked by the operator: %d %s", w.Code, w.Body)
		}
		if w := s.do("DELETE", "/ticket?subject="+second.Subject, ""); w.Code != 204 || !refused(second) || refused(issue(alice)) {
			t.Errorf("all revoked by the operator: %d %s", w.Code, w.Body)
		}
		var w *httptest.ResponseRecorder
		for range 201 {
			w = ask(bob, "POST", "/ticket")
		}
		if w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "too_many_tickets") {
			t.Errorf("the 202nd ticket: %d %v %s", w.Code, w.Header(), w.Body)
		}
	})
}

// revokingLog calls a function while a stream looks for its place in the log.
type revokingLog struct {
	*eventlogtest.Memory
	revoke func()
}

func (l *revokingLog) Bounds(ctx context.Context) (first, last uint64, err error) {
	if revoke := l.revoke; revoke != nil {
		l.revoke = nil
		revoke()
	}
	return l.Memory.Bounds(ctx)
}

// A ticket that is revoked after it was verified, and before its stream is in the list of streams, opens none.
func TestATicketThatIsRevokedWhileItsStreamOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &revokingLog{Memory: eventlogtest.NewMemory()}
		h, err := hub.New(t.Context(), log, hub.Config{})
		must(t, err)
		s := newServer(t, func(cfg *handlers.Config) {
			ticketed(t, eventlogtest.NewStore())(cfg)
			cfg.Hub = h
		})
		a := s.issue(t, "news")
		log.revoke = func() {
			if w := s.do("DELETE", "/ticket/"+a.ID, ""); w.Code != 204 {
				t.Errorf("revoked: %d %s", w.Code, w.Body)
			}
			<-time.After(time.Second) // everything that is to end has ended
		}
		began := time.Now()
		stream := ssetest.Get(t, s, a.URL+"&topic=news&since=last", "Origin", appPage)
		if f := stream.NextEvent(); f.Type != "auth-expired" || time.Since(began) > time.Minute {
			t.Errorf("event %+v after %v", f, time.Since(began))
		}
		if log.revoke != nil {
			t.Error("the ticket was not revoked")
		}
	})
}
