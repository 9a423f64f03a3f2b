package handlers_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/auth"
	"freshet/event"

	"github.com/google/go-cmp/cmp"
)

type connectionAnswer struct {
	ID, Since, State, Address string
	Topics                    []string
	Events, Lag               uint64
	Seconds                   float64
}

// operate sends an operator's request and returns the status.
func (s *tcpServer) operate(ctx context.Context, t *testing.T, method, path string, into any) int {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, nil)
	must(t, err)
	r.Header.Set("Operator", operatorToken)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close()
	if into != nil {
		must(t, json.NewDecoder(answer.Body).Decode(into))
	}
	return answer.StatusCode
}

// opened reads the stream's opening and returns its cursor.
func opened(t *testing.T, r *tcpReader) string {
	t.Helper()
	f, err := r.Next()
	must(t, err)
	return f.ID
}

// An operator sees every stream, parked or not, and can end one: its client gets the event drain.
func TestConnections(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		first := s.open(ctx, t, "/event?topic=a&topic=stats", 0)
		firstSince := opened(t, first)
		second := s.open(ctx, t, "/event/b.*", 0)
		secondSince := opened(t, second)
		s.settled(ctx, t, 2)
		s.log.Publish(t, "a", "one")
		s.log.Publish(t, "a", "two")
		for _, want := range []string{"one", "two"} {
			if f := next(t, first, "a"); f.Data != want {
				t.Errorf("read %q, want %q", f.Data, want)
			}
		}
		var list struct {
			Total       int
			Connections []connectionAnswer
		}
		if err := apptest.Until(ctx, func() bool { // an entry counts once it is written
			s.operate(ctx, t, http.MethodGet, "/connections", &list)
			return len(list.Connections) == 2 && list.Connections[1].Events == 2
		}); err != nil {
			t.Fatalf("the list is %+v", list)
		}
		state := map[bool]string{true: "parked", false: "live"}[strings.HasSuffix(t.Name(), "parked_true")]
		want := []connectionAnswer{
			{Topics: []string{"b.*"}, Since: secondSince, State: state, Address: "127.0.0.1"},
			{Topics: []string{"a", "stats"}, Since: firstSince, State: state, Address: "127.0.0.1", Events: 2},
		}
		ids := map[string]bool{}
		for i := range list.Connections {
			c := &list.Connections[i]
			ids[c.ID] = true
			if c.Seconds < 0 || c.Seconds > 60 {
				t.Errorf("open for %v s", c.Seconds)
			}
			want[i].ID, want[i].Seconds = c.ID, c.Seconds
		}
		if diff := cmp.Diff(want, list.Connections); diff != "" || len(ids) != 2 || list.Total != 2 {
			t.Errorf("%d in all, IDs %v:\n%s", list.Total, ids, diff)
		}
		s.operate(ctx, t, http.MethodGet, "/connections?limit=1", &list)
		if list.Total != 2 || len(list.Connections) != 1 || list.Connections[0].ID != want[0].ID {
			t.Errorf("the newest: %+v", list)
		}

		if status := s.operate(ctx, t, http.MethodDelete, "/connections/"+want[0].ID, nil); status != http.StatusNoContent {
			t.Errorf("ended: %d", status)
		}
		if f := next(t, second, "drain"); f.Retry == 0 && f.Data != "{}" {
			t.Errorf("the last words are %+v", f)
		}
		if f, err := second.Next(); err == nil {
			t.Errorf("after its end: %+v", f)
		}
		s.log.Publish(t, "a", "three") // for the other stream, which is still open
		if f := next(t, first, "a"); f.Data != "three" {
			t.Errorf("read %q", f.Data)
		}
		if err := apptest.Until(ctx, func() bool {
			s.operate(ctx, t, http.MethodGet, "/connections", &list)
			return list.Total == 1 && len(list.Connections) == 1 && list.Connections[0].ID == want[1].ID
		}); err != nil {
			t.Errorf("after one has ended: %+v", list)
		}
		for record := range s.records {
			if record["msg"] == "stream closed" {
				if record["reason"] != "ended" {
					t.Errorf("the record's reason is %v", record["reason"])
				}
				break
			}
		}
		for path, want := range map[string]int{
			"DELETE /connections/" + want[0].ID: 404, "DELETE /connections/-": 404,
			"GET /connections?limit=0": 400, "GET /connections?limit=1001": 400, "GET /connections?limit=x": 400,
		} {
			method, path, _ := strings.Cut(path, " ")
			if got := s.operate(ctx, t, method, path, nil); got != want {
				t.Errorf("%s %s: %d, want %d", method, path, got, want)
			}
		}
	})
}

// A stream whose client reads nothing can be ended too, immediately if it is parked.
func TestEndingAConnectionThatTakesNothing(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		if !strings.HasSuffix(t.Name(), "parked_true") {
			return // its goroutine is in a write, which ends by the deadline: TestAReaderThatTakesNothingIsClosed
		}
		r := s.open(ctx, t, "/event/a", 4096)
		opened(t, r)
		s.settled(ctx, t, 1)
		for range 200 {
			s.log.Publish(t, "a", strings.Repeat("x", 64<<10))
		}
		var list struct{ Connections []connectionAnswer }
		if err := apptest.Until(ctx, func() bool {
			s.operate(ctx, t, http.MethodGet, "/connections", &list)
			return len(list.Connections) == 1 && list.Connections[0].Lag > 0
		}); err != nil {
			t.Fatalf("it has no lag: %+v", list)
		}
		if status := s.operate(ctx, t, http.MethodDelete, "/connections/"+list.Connections[0].ID, nil); status != http.StatusNoContent {
			t.Errorf("ended: %d", status)
		}
		if err := apptest.Until(ctx, func() bool { return s.hub.Stats().Subscribers == 0 }); err != nil {
			t.Error("it is still open")
		}
	})
}

// grant returns a JSON web token that expires in a minute.
func grant(t *testing.T, g auth.Grant) string {
	t.Helper()
	g.Expires = time.Now().Add(time.Minute)
	text, err := auth.Sign(jwtSecret, g)
	must(t, err)
	return text
}

// Only operators see connections: callers with the publish token, or with the claim of a JSON web token.
func TestConnectionsAreForOperators(t *testing.T) {
	s := newServer(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		path := map[string]string{http.MethodGet: "/connections", http.MethodDelete: "/connections/1"}[method]
		if w := s.as(method, path); w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d %s", method, path, w.Code, w.Body)
		}
		for token, want := range map[string]int{
			grant(t, auth.Grant{Subscribe: event.Patterns{event.All}, Publish: event.Patterns{event.All}}): http.StatusForbidden,
			grant(t, auth.Grant{Operator: true}): map[string]int{http.MethodGet: http.StatusOK, http.MethodDelete: http.StatusNotFound}[method],
		} {
			w := s.do(method, path, "", "Authorization", "Bearer "+token)
			if w.Code != want || want == http.StatusForbidden && !strings.Contains(w.Body.String(), `\"freshet\": {\"operator\": true}`) {
				t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, want)
			}
		}
	}
	if w := s.do(http.MethodGet, "/connections", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"connections":[]`) || !strings.Contains(w.Body.String(), `"total":0`) {
		t.Errorf("an operator without connections: %d %s", w.Code, w.Body)
	}
}
