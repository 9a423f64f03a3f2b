package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/handlers"
	"freshet/ssetest"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

const jwtSecret = "thirty-two-bytes-of-a-JWT-secret"

func patterns(t *testing.T, texts ...string) (ps event.Patterns) {
	t.Helper()
	for _, text := range texts {
		p, err := event.ParsePattern(text)
		must(t, err)
		ps = append(ps, p)
	}
	return ps
}

func keysFor(t *testing.T, anonymous ...string) *auth.Keys {
	t.Helper()
	keys, err := auth.New(auth.Config{JWTSecret: jwtSecret, Anonymous: patterns(t, anonymous...)})
	must(t, err)
	return keys
}

// holder is the caller of a token for a minute.
func holder(t *testing.T, keys *auth.Keys, subject string, publish, subscribe []string) auth.Caller {
	t.Helper()
	return holderFor(t, keys, time.Minute, subject, publish, subscribe)
}

func holderFor(t *testing.T, keys *auth.Keys, d time.Duration, subject string, publish, subscribe []string) auth.Caller {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": subject, "exp": time.Now().Add(d).Unix(), "freshet": map[string]any{"publish": publish, "subscribe": subscribe},
	}).SignedString([]byte(jwtSecret))
	must(t, err)
	caller, err := keys.Authenticate(t.Context(), token)
	must(t, err)
	return caller
}

// by is the server as the caller meets it.
func (s *server) by(caller auth.Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), caller)))
	})
}

func ask(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWhoMayNotRead(t *testing.T) {
	s := newServer(t, nil)
	some, none := keysFor(t, "news", "public.>"), keysFor(t)
	for _, c := range []struct {
		name   string
		caller auth.Caller
		query  string
		status int
		text   string // of the message
	}{
		{"anybody", some.Anonymous(nil), "?topic=orders.eu", 401, `topic \"orders.eu\"`},
		{"anybody", some.Anonymous(nil), "?topic=%3E", 401, `topic \"\u003e\"`},
		{"anybody", some.Anonymous(nil), "?topic=news&topic=public", 401, `topic \"public\"`},
		{"nobody", none.Anonymous(nil), "", 401, "Authorization: Bearer"},
		{"nobody", none.Anonymous(nil), "?topic=counter", 401, "Authorization: Bearer"},
		{"a token", holder(t, some, "a", nil, []string{"orders.*"}), "?topic=orders.%3E", 403, `topic \"orders.\u003e\"`},
		{"a token", holder(t, some, "a", nil, []string{"orders.*"}), "?topic=*.eu", 403, `topic \"*.eu\"`},
		{"a token", holder(t, some, "a", nil, []string{"orders.*"}), "?topic=news&topic=secret", 403, `topic \"secret\"`},
		{"a publisher", holder(t, none, "a", []string{">"}, nil), "", 403, "any topic"},
		{"a publisher", holder(t, none, "a", []string{">"}, nil), "?topic=stats", 403, "any topic"},
	} {
		for _, path := range []string{"/event", "/history"} {
			w := ask(s.by(c.caller), "GET", path+c.query, "", "Accept", "text/event-stream")
			text := strings.NewReplacer(`>`, `\u003e`).Replace(w.Body.String())
			if w.Code != c.status || !strings.Contains(text, c.text) {
				t.Errorf("%s, %s%s: %d %s; want %d with %s", c.name, path, c.query, w.Code, w.Body, c.status, c.text)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer realm="freshet"`) ||
				strings.Contains(challenge, "insufficient_scope") != (c.status == 403) {
				t.Errorf("%s, %s%s: WWW-Authenticate %q", c.name, path, c.query, challenge)
			}
		}
	}
	if w := ask(s.by(holder(t, some, "a", nil, []string{"orders.*"})), "GET", "/event/secret", ""); w.Code != 403 {
		t.Errorf("by the path: %d", w.Code)
	}
}

// Without a topic there is all that the caller may read, and nothing else: live, in replay and in history.
func TestWhatTheCallerMayRead(t *testing.T) {
	keys := keysFor(t, "news", "public.>")
	topics := []string{"news", "orders.eu", "secret", "public.a.b", "orders.eu.x", "public"}
	for name, c := range map[string]struct {
		caller func(t *testing.T) auth.Caller
		want   []string
	}{
		"anybody":      {func(*testing.T) auth.Caller { return keys.Anonymous(nil) }, []string{"news", "public.a.b"}},
		"a token":      {func(t *testing.T) auth.Caller { return holder(t, keys, "a", nil, []string{"orders.*"}) }, []string{"news", "orders.eu", "public.a.b"}},
		"by no one":    {func(*testing.T) auth.Caller { return auth.Caller{} }, topics},
		"with nothing": {func(t *testing.T) auth.Caller { return holder(t, keys, "b", []string{">"}, nil) }, []string{"news", "public.a.b"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, nil)
			h := s.by(c.caller(t))
			for _, topic := range topics {
				s.log.Publish(t, topic, "old")
			}
			synctest.Wait()
			stream, quiet := ssetest.Get(t, h, "/event?since=all"), ssetest.Get(t, h, "/event")
			synctest.Wait()
			for _, want := range c.want {
				if f := stream.NextEvent(); f.Type != want {
					t.Errorf("%s: replayed %s, want %s", name, f.Type, want)
				}
			}
			if n := stream.Pending(); n != 0 {
				t.Errorf("%s: %d bytes more are replayed", name, n)
			}
			page := ask(h, "GET", "/history?limit=6", "").Body.String()
			for _, topic := range topics {
				want := strings.Contains(" "+strings.Join(c.want, " ")+" ", " "+topic+" ")
				if strings.Contains(page, fmt.Sprintf(`"topic":%q`, topic)) != want {
					t.Errorf("%s: %s is in history: %v", name, topic, !want)
				}
			}
			if n := strings.Count(page, `"old"`); n != len(c.want) {
				t.Errorf("%s: %d events in history", name, n)
			}
			quiet.Next()
			for _, topic := range topics {
				s.log.Publish(t, topic, "live")
			}
			synctest.Wait()
			for _, want := range c.want {
				if f := quiet.NextEvent(); f.Type != want || f.Data != "live" {
					t.Errorf("%s: live %+v, want %s", name, f, want)
				}
			}
			pass(time.Second) // only now, the counter
			if f := quiet.NextEvent(); f.Data != "1" {
				t.Errorf("%s: %+v, want the count", name, f)
			}
			stream.Close()
			quiet.Close()
		})
	}
}

func TestWhoMayPublishWhat(t *testing.T) {
	s := newServer(t, nil)
	h := s.by(holder(t, keysFor(t), "a", []string{"orders.*", "news"}, nil))
	for target, want := range map[string]int{"/event/orders.eu": 201, "/event/news": 201, "/event/orders.eu.x": 403, "/event/secret": 403, "/event/orders": 403} {
		w := ask(h, "POST", target, "x")
		topic := strings.TrimPrefix(target, "/event/")
		if w.Code != want || !strings.Contains(w.Body.String(), topic) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := ask(h, "POST", "/event", `{"topic":"secret","data":"x"}`); w.Code != 403 {
		t.Errorf("as JSON: %d %s", w.Code, w.Body)
	}
	lines := "{\"topic\":\"news\",\"data\":\"1\"}\n{\"topic\":\"secret\",\"data\":\"2\"}\n{\"topic\":\"orders.us\",\"data\":\"3\"}\n"
	w := ask(h, "POST", "/event", lines, "Content-Type", "application/x-ndjson")
	answers := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || len(answers) != 3 || !strings.Contains(answers[0], `"id"`) || !strings.Contains(answers[1], "forbidden") ||
		!strings.Contains(answers[2], `"id"`) {
		t.Errorf("as NDJSON: %d %s", w.Code, w.Body)
	}
	reader := s.by(holder(t, keysFor(t), "b", nil, []string{">"}))
	for _, kind := range []string{"application/json", "application/x-ndjson"} {
		if w := ask(reader, "POST", "/event", lines, "Content-Type", kind); w.Code != 403 {
			t.Errorf("a reader, %s: %d %s", kind, w.Code, w.Body)
		}
	}
	if state, err := s.log.State(t.Context()); err != nil || state.Events != 4 {
		t.Errorf("%d events are stored, %v", state.Events, err)
	}
}

// Publishers with tokens are counted by their subjects, whatever their address.
func TestThePublishRateIsTheSubjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.PublishRate = 1 })
		keys := keysFor(t)
		first, again, other := holder(t, keys, "a", []string{">"}, nil), holder(t, keys, "a", []string{"n"}, nil), holder(t, keys, "b", []string{">"}, nil)
		for range 10 {
			if w := ask(s.by(first), "POST", "/event/n", "x"); w.Code != 201 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		for name, c := range map[string]struct {
			caller auth.Caller
			want   int
		}{"another token of the subject": {again, 429}, "another subject": {other, 201}} {
			if w := ask(s.by(c.caller), "POST", "/event/n", "x"); w.Code != c.want {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
		if w := s.do("POST", "/event/n", "x"); w.Code != 201 {
			t.Errorf("the publish token, which is counted by address: %d", w.Code)
		}
	})
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		caller := holder(t, keysFor(t), "a", nil, []string{"n"})
		h := s.by(caller)
		stream, lines := ssetest.Get(t, h, "/event/n"), ssetest.Get(t, h, "/event/n", "Accept", "application/x-ndjson")
		pass(59 * time.Second)
		s.log.Publish(t, "n", "in time")
		synctest.Wait()
		if f := stream.NextEvent(); f.Data != "in time" {
			t.Errorf("%+v", f)
		}
		pass(time.Second)
		want := event.Frame{Type: "auth-expired", Data: "{}", HasData: true, ID: "10-1"}
		if diff := cmp.Diff(want, stream.NextEvent()); diff != "" {
			t.Error(diff)
		}
		if rest := stream.Rest(); len(rest) != 0 {
			t.Errorf("after its end the stream has %+v", rest)
		}
		if text := lines.Body(); !strings.HasSuffix(text, `"type":"auth-expired","data":"{}"}`+"\n") {
			t.Errorf("as NDJSON it ends with %s", text)
		}
		if n := s.hub.Stats().Subscribers; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

// The same where streams are parked, and where one is behind the window.
func TestStreamsEndWithTheirTokensOverTCP(t *testing.T) {
	onBothPaths(t, 64<<10, func(ctx context.Context, t *testing.T, s *tcpServer) {
		keys := keysFor(t)
		s.callers.Store("short", holderFor(t, keys, 2*time.Second, "a", nil, []string{"n"}))
		s.callers.Store("long", holder(t, keys, "b", nil, []string{"n"}))
		ended := func(r *tcpReader) {
			t.Helper()
			if f := next(t, r, "auth-expired"); f.Data != "{}" {
				t.Errorf("%+v", f)
			}
			if f, err := r.Next(); err == nil {
				t.Errorf("after its end the stream has %+v", f)
			}
			for {
				select {
				case got := <-s.records:
					if got["msg"] == "stream closed" {
						if got["reason"] != "auth-expired" {
							t.Errorf("the record's reason is %v", got["reason"])
						}
						return
					}
				case <-ctx.Done():
					t.Fatal("no record")
				}
			}
		}
		long, short := s.open(ctx, t, "/event/n?_=long", 0), s.open(ctx, t, "/event/n?_=short", 0)
		slow := s.open(ctx, t, "/event/n?_=short", 64<<10)
		s.settled(ctx, t, 3)
		s.log.Publish(t, "n", "one")
		for _, r := range []*tcpReader{long, short, slow} {
			if f := next(t, r, "n"); f.Data != "one" {
				t.Errorf("%+v", f)
			}
		}
		ended(short)
		ended(slow)
		s.log.Publish(t, "n", "two")
		if f := next(t, long, "n"); f.Data != "two" {
			t.Errorf("%+v", f)
		}
		if n := s.hub.Stats().Subscribers; n != 1 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// A browser whose cookie cannot be judged yet comes back by itself; others are told.
func TestStreamsWhileTokensCannotBeChecked(t *testing.T) {
	s := newServer(t, nil)
	h := s.by(keysFor(t, "news").Anonymous(auth.ErrUnavailable))
	if w := ask(h, "GET", "/event/secret", "", "Accept", "text/event-stream"); w.Code != 200 || !strings.Contains(w.Body.String(), "event: busy\ndata: {\"reason\":\"auth_unavailable\"") {
		t.Errorf("a browser: %d %s", w.Code, w.Body)
	}
	if w := ask(h, "GET", "/event/secret", ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("others: %d %s", w.Code, w.Body)
	}
	if w := ask(h, "GET", "/history?topic=news", ""); w.Code != 200 {
		t.Errorf("what anybody may read: %d %s", w.Code, w.Body)
	}
}
