package handlers_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/ssetest"
)

// The tests' router trusts every proxy, as Gin does by default, so this header sets the client's address.
const forwarded = "X-Forwarded-For"

// busy reports whether the frame refuses a stream for the reason. It has no ID, and its data repeats the retry field.
func busy(f event.Frame, reason string) bool {
	return f.Type == "busy" && f.ID == "" && f.HasRetry && f.Data == fmt.Sprintf(`{"reason":%q,"retry_ms":%d}`, reason, f.Retry.Milliseconds())
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.MaxConnectionsPerAddress = 2 })
		for _, address := range []struct{ first, again, neighbour string }{
			{"203.0.113.7", "::ffff:203.0.113.7", "203.0.113.8"},
			{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"},
			{"::ffff:198.51.100.1", "198.51.100.1", "::ffff:198.51.100.2"},
		} {
			first := ssetest.Get(t, s, "/event/n", forwarded, address.first)
			first.Next()
			ssetest.Get(t, s, "/event/n", forwarded, address.again).Next()

			refused := ssetest.Get(t, s, "/event/n", forwarded, address.again)
			if f := refused.Next(); !busy(f, "too_many_connections") || refused.Status() != http.StatusOK || f.Retry < 5*time.Second || f.Retry > 30*time.Second {
				t.Fatalf("a browser at %s: %d %+v", address.again, refused.Status(), f)
			}
			if more := refused.Rest(); len(more) > 0 {
				t.Errorf("a refused stream continues: %+v", more)
			}
			w := s.do("GET", "/event/n", "", forwarded, address.again, "Accept", "application/x-ndjson")
			if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), "too_many_connections") {
				t.Errorf("another caller at %s: %d %v %s", address.again, w.Code, w.Header(), w.Body)
			}
			ssetest.Get(t, s, "/event/n", forwarded, address.neighbour).Next()

			// When one stream ends, exactly one more is admitted.
			first.Close()
			ssetest.Get(t, s, "/event/n", forwarded, address.first).Next()
			if f := ssetest.Get(t, s, "/event/n", forwarded, address.first).Next(); f.ID != "" {
				t.Errorf("%s has three streams", address.first)
			}
		}
	})
}

// A stream whose topics have many segments costs memory, so it counts as several connections.
func TestSegmentsCountAsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.MaxConnections, cfg.MaxConnectionsPerAddress = 4, 3 })
		refused := func(address, path string) string {
			f := ssetest.Get(t, s, path, forwarded, address).Next()
			return strings.TrimSuffix(strings.TrimPrefix(f.Data, `{"reason":"`), fmt.Sprintf(`","retry_ms":%d}`, f.Retry.Milliseconds()))
		}
		sixtyFour := "/event/" + strings.Repeat("a.", 31) + "a?topic=" + strings.Repeat("b.", 31) + "*"
		sixtyFive := sixtyFour + "&topic=c"
		const one, two = "203.0.113.7", "203.0.113.8"
		heavy := ssetest.Get(t, s, sixtyFive, forwarded, one)
		heavy.Next()
		if got := refused(one, sixtyFive); got != "too_many_connections" {
			t.Errorf("2 more than the 2 of 3: %q", got)
		}
		ssetest.Get(t, s, sixtyFour, forwarded, one).Next()
		if got := refused(one, "/event/a"); got != "too_many_connections" {
			t.Errorf("1 more than the 3 of 3: %q", got)
		}
		if got := refused(two, sixtyFive); got != "full" {
			t.Errorf("2 more than the 3 of 4 in all: %q", got)
		}
		ssetest.Get(t, s, "/event/a", forwarded, two).Next()
		heavy.Close()
		ssetest.Get(t, s, sixtyFive, forwarded, two).Next() // a refused stream holds nothing
	})
}

// All clients without a known address count as one.
func TestConnectionsWithoutAnAddressAreLimited(t *testing.T) {
	s := newServer(t, func(cfg *handlers.Config) { cfg.MaxConnectionsPerAddress = 1 })
	open := func(remote string) *ssetest.Stream {
		r := httptest.NewRequest(http.MethodGet, "/event/n", nil)
		r.RemoteAddr = remote
		return ssetest.Open(t, s, r)
	}
	first := open("@")
	first.Next()
	if w := open("pipe"); w.Status() != http.StatusTooManyRequests {
		t.Errorf("a second one: %d", w.Status())
	}
	first.Close()
	open("pipe").Next()
}

func TestPublishRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.PublishRate = 2 })
		stored := uint64(0)
		want := func(w *httptest.ResponseRecorder, status int, code, retryAfter string, events uint64) {
			t.Helper()
			if w.Code != status || !strings.Contains(w.Body.String(), code) || w.Header().Get("Retry-After") != retryAfter {
				t.Errorf("%d, Retry-After %q, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
			}
			stored += events
			if state, err := s.log.State(t.Context()); err != nil || state.Events != stored {
				t.Errorf("%d events are stored, want %d, %v", state.Events, stored, err)
			}
		}
		single := func(address string) *httptest.ResponseRecorder {
			return s.do("POST", "/event/n", "x", forwarded, address)
		}
		many := func(address string, n int) *httptest.ResponseRecorder {
			body := strings.Repeat("nonsense\n", 3) + strings.Repeat(`{"topic":"n","data":1}`+"\n", n)
			return s.do("POST", "/event", body, forwarded, address, "Content-Type", "application/x-ndjson")
		}
		const wild, other = "203.0.113.7", "2001:db8::1"
		for range 20 { // ten seconds' worth
			want(single(wild), 201, "id", "", 1)
		}
		want(single(wild), 429, "rate_limited", "1", 0)
		want(s.do("POST", "/event", `{"topic":"n","data":1}`, forwarded, wild), 429, "rate_limited", "1", 0)
		want(many(wild, 15), 429, "rate_limited", "8", 0)
		want(many(other, 20), 200, "id", "", 20)
		want(many(other, 21), 413, "too_many_events", "", 0)
		want(many(other, 0), 200, "malformed", "", 0)

		// Of a refused request, every line counts: 1 + 1 + 18 + 24, and 3 invalid lines of each of two others.
		if f := s.Figures(); f.Stored != stored || f.Refused != 50 {
			t.Errorf("%d events are counted as stored and %d as refused", f.Stored, f.Refused)
		}

		// Refused requests do not count, and Retry-After is exact.
		pass(7 * time.Second)
		want(many(wild, 15), 429, "rate_limited", "1", 0)
		pass(time.Second)
		want(many(wild, 15), 200, "id", "", 15)
		want(single(wild), 201, "id", "", 1)
		want(single(wild), 429, "rate_limited", "1", 0)

		// The limit of an address holds, however many other addresses there are.
		for i := range 3000 {
			want(single(fmt.Sprintf("2001:db8:1:%x::1", i)), 201, "id", "", 1)
		}
		want(single(wild), 429, "rate_limited", "1", 0)
		pass(time.Hour)
		want(many(wild, 20), 200, "id", "", 20)
		want(single(wild), 429, "rate_limited", "1", 0)
	})
}

// A client that does not read its responses can have only so many requests of history open.
func TestPagesOfHistoryOfOneAddressAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		s.log.Publish(t, "n", "x")
		taken := make(chan struct{})
		stick := func(address string) {
			for range 16 {
				go func() {
					r := httptest.NewRequest(http.MethodGet, "/history", nil)
					r.Header.Set(forwarded, address)
					s.ServeHTTP(stuckWriter{httptest.NewRecorder(), taken}, r)
				}()
			}
			synctest.Wait()
		}
		stick("203.0.113.7")
		w := s.do("GET", "/history", "", forwarded, "203.0.113.7")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), "too_many_pages") {
			t.Errorf("a 17th page: %d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := s.do("GET", "/history", "", forwarded, "203.0.113.8"); w.Code != http.StatusOK {
			t.Errorf("another reader: %d %s", w.Code, w.Body)
		}
		close(taken)
		synctest.Wait()
		if w := s.do("GET", "/history", "", forwarded, "203.0.113.7"); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}

// What clients do not read is bounded too. A client whose network holds its part of the memory gets an error, and
// delays no other.
func TestPagesShareTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		s.log.Publish(t, "n", strings.Repeat("\x01", 200_000)) // in JSON six times as much
		taken := make(chan struct{})
		var stuck sync.WaitGroup
		for _, accept := range []string{"application/json", "application/x-ndjson"} {
			for range 3 { // 3 MB of 8 MiB, of which a third of the rest may be held
				stuck.Go(func() {
					r := httptest.NewRequest(http.MethodGet, "/history", nil)
					r.Header.Set(forwarded, "203.0.113.7")
					r.Header.Set("Accept", accept)
					s.ServeHTTP(stuckWriter{httptest.NewRecorder(), taken}, r)
				})
			}
		}
		synctest.Wait()
		began := time.Now()
		w := s.do("GET", "/history", "", forwarded, "203.0.113.7")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %d %v %s", time.Since(began), w.Code, w.Header(), w.Body)
		}
		began = time.Now()
		if w := s.do("GET", "/history", "", forwarded, "203.0.113.8"); w.Code != http.StatusOK || w.Body.Len() < 1_200_000 || time.Since(began) != 0 {
			t.Errorf("another client, after %v: %d, %d bytes", time.Since(began), w.Code, w.Body.Len())
		}
		close(taken)
		stuck.Wait()
		if w := s.do("GET", "/history", "", forwarded, "203.0.113.7"); w.Code != http.StatusOK || w.Body.Len() < 1_200_000 {
			t.Errorf("afterwards: %d, %d bytes", w.Code, w.Body.Len())
		}
	})
}

// A stream that waits for the memory of its replay lives: it has heartbeats, and it ends with a drain.
func TestAStreamThatWaitsForItsReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		s.log.Publish(t, "n", strings.Repeat("x", 3<<20)) // takes most of what there is
		for range 100 {
			s.log.Publish(t, "n", strings.Repeat("x", 1000)) // the window has forgotten the first one
		}
		taken := make(chan struct{})
		var stuck sync.WaitGroup
		stuck.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "/history", nil)
			s.ServeHTTP(stuckWriter{httptest.NewRecorder(), taken}, r)
		})
		synctest.Wait()
		stream := ssetest.Get(t, s, "/event/n?since=all")
		for _, want := range []string{"the opening", "a heartbeat", "another"} {
			if f := stream.Next(); f.ID != "10-0" || f.HasData {
				t.Errorf("%s: %+v", want, f)
			}
		}
		must(t, s.Drain(t.Context(), time.Second))
		if f := stream.Next(); f.Type != "drain" {
			t.Errorf("at the end: %+v", f)
		}
		close(taken)
		stuck.Wait()
	})
}

// A page that cannot be completed is no page: the connection is cut.
func TestABrokenPageIsCut(t *testing.T) {
	for _, accept := range []string{"application/json", "application/x-ndjson"} {
		s := newServer(t, nil)
		for range 20 {
			s.log.Publish(t, "n", strings.Repeat("x", 50_000))
		}
		server := httptest.NewServer(s)
		defer server.Close()
		var reads atomic.Int32
		s.log.OnRead = func() {
			if reads.Add(1) == 2 {
				s.log.Fail(eventlog.ErrUnavailable)
			}
		}
		get := func() (int, []byte, error) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/history", nil)
			must(t, err)
			r.Header.Set("Accept", accept)
			answer, err := server.Client().Do(r)
			must(t, err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			return answer.StatusCode, body, err
		}
		if status, body, err := get(); status != http.StatusOK || err == nil {
			t.Errorf("%s: %d, %d bytes, %v; want a body that ends with an error", accept, status, len(body), err)
		}
		if status, body, err := get(); status != http.StatusServiceUnavailable || err != nil {
			t.Errorf("%s: a page that never began: %d %s, %v", accept, status, body, err)
		}
		s.log.Fail(nil)
		if status, body, err := get(); status != http.StatusOK || err != nil || bytes.Count(body, []byte("xxxx")) == 0 {
			t.Errorf("%s: afterwards: %d, %d bytes, %v", accept, status, len(body), err)
		}
	}
}

// stuckWriter is the connection of a client that reads nothing before taken is closed.
type stuckWriter struct {
	*httptest.ResponseRecorder
	taken chan struct{}
}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w.taken
	return w.ResponseRecorder.Write(p)
}
