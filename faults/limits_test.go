package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
)

// from is where a request comes from: an address of the loopback network and, for a proxy,
// its header X-Forwarded-For.
type from struct{ address, forwarded string }

func (f from) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(f.address)}}
	return dialer.DialContext(ctx, network, address)
}

// transport makes a connection for each request.
func (f from) transport() *http.Transport {
	return &http.Transport{DialContext: f.dial, DisableKeepAlives: true}
}

func (f from) header() http.Header {
	h := http.Header{}
	if f.forwarded != "" {
		h.Set("X-Forwarded-For", f.forwarded)
	}
	return h
}

// browser opens a stream as a browser does. The first frame of an accepted stream has an ID.
// A refused stream is checked: it must make a browser come back.
func (f from) browser(ctx context.Context, t *testing.T, s *apptest.Process, topics ...string) (_ *client.Reader, refused bool) {
	t.Helper()
	header := f.header()
	header.Set("Accept", "text/event-stream")
	c := newClient(t, s, client.Config{HTTP: &http.Client{Transport: f.transport()}})
	r := open(ctx, t, c, client.Subscription{Topics: topics, Header: header}) // any status but 200 fails the test
	first, err := r.Next()
	must(t, err)
	if first.ID != "" {
		return r, false
	}
	if _, err := r.Next(); first.Retry < 5*time.Second || first.Retry > 30*time.Second || first.Type != "busy" || !errors.Is(err, io.EOF) {
		t.Errorf("a refused browser gets %+v, then %v", first, err)
	}
	return nil, true
}

// opens opens n streams as browsers do. The server must accept all of them.
func (f from) opens(ctx context.Context, t *testing.T, s *apptest.Process, n int, topics ...string) (streams []*client.Reader) {
	t.Helper()
	for range n {
		r, refused := f.browser(ctx, t, s, topics...)
		if refused {
			t.Fatalf("%v: refused", f)
		}
		streams = append(streams, r)
	}
	return streams
}

// refused checks that neither a browser nor another client gets a stream.
func (f from) refused(ctx context.Context, t *testing.T, s *apptest.Process, status int, code string) {
	t.Helper()
	if _, refused := f.browser(ctx, t, s); !refused {
		t.Errorf("%v: a browser's stream was opened", f)
	}
	answer, body := f.do(ctx, t, http.MethodGet, s.URL+"/event", "")
	if answer.StatusCode != status || answer.Header.Get("Retry-After") != "5" || !strings.Contains(body, code) {
		t.Errorf("%v: %d %v %s", f, answer.StatusCode, answer.Header, body)
	}
}

// comesBack waits until the server accepts a browser.
func (f from) comesBack(ctx context.Context, t *testing.T, s *apptest.Process) {
	t.Helper()
	must(t, apptest.Until(ctx, func() bool {
		_, refused := f.browser(ctx, t, s)
		return !refused
	}))
}

// do sends a request that does not ask for an event stream. Headers are pairs of name and value.
func (f from) do(ctx context.Context, t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	must(t, err)
	r.Header = f.header()
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := f.transport().RoundTrip(r)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer, string(text)
}

func TestConnectionsInAllAreLimited(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--max-connections", "3")
	open := from{"127.0.0.1", ""}.opens(ctx, t, s, 2)
	from{"127.0.0.2", ""}.opens(ctx, t, s, 1)
	late := from{"127.0.0.3", ""}
	late.refused(ctx, t, s, http.StatusServiceUnavailable, "full")
	// Only streams are counted.
	if answer, _ := late.do(ctx, t, http.MethodGet, s.URL+"/history", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("history: %s", answer.Status)
	}
	open[0].Close()
	late.comesBack(ctx, t, s)
	if f, err := next(open[1], ""); err != nil || f.Data == "" {
		t.Errorf("an open stream: %+v, %v", f, err)
	}
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--max-connections-per-address", "2", "--trusted-proxy", "127.0.0.1")
	const status, code = http.StatusTooManyRequests, "too_many_connections"
	type addresses struct{ first, again, neighbour from }
	for name, c := range map[string]addresses{
		"connected":      {from{"127.0.0.2", ""}, from{"127.0.0.2", ""}, from{"127.0.0.3", ""}},
		"that forges":    {from{"127.0.0.4", "203.0.113.1"}, from{"127.0.0.4", "203.0.113.2"}, from{"127.0.0.5", "203.0.113.1"}},
		"IPv4, proxied":  {from{"127.0.0.1", "203.0.113.7"}, from{"127.0.0.1", "6.6.6.6, ::ffff:203.0.113.7"}, from{"127.0.0.1", "203.0.113.8"}},
		"IPv6, proxied":  {from{"127.0.0.1", "2001:db8:0:1::1"}, from{"127.0.0.1", "2001:db8:0:1:ffff::1"}, from{"127.0.0.1", "2001:db8:0:2::1"}},
		"proxied twice":  {from{"127.0.0.1", "198.51.100.1, 127.0.0.1"}, from{"127.0.0.1", "::1, 198.51.100.1, 127.0.0.1"}, from{"127.0.0.1", "198.51.100.2"}},
		"a silent proxy": {from{"127.0.0.1", ""}, from{"127.0.0.1", "unknown"}, from{"127.0.0.1", "198.51.100.9"}},
	} {
		t.Run(name, func(t *testing.T) {
			streams := c.first.opens(ctx, t, s, 2)
			c.again.refused(ctx, t, s, status, code)
			c.neighbour.opens(ctx, t, s, 2)
			streams[0].Close()
			c.again.comesBack(ctx, t, s)
			c.first.refused(ctx, t, s, status, code)
		})
	}
}

func TestTopicsAndBodiesAreLimited(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--max-topics", "2", "--max-body", "1000")
	caller := from{"127.0.0.1", ""}
	caller.opens(ctx, t, s, 1, "a", "b")
	for _, path := range []string{"/event?topic=a&topic=b&topic=c", "/event/a?topic=b&topic=c", "/history?topic=a&topic=b&topic=c"} {
		answer, body := caller.do(ctx, t, http.MethodGet, s.URL+path, "", "Accept", "text/event-stream")
		if answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, "invalid_topic") { // a retry would not help
			t.Errorf("%s: %s %s", path, answer.Status, body)
		}
	}
	publish(ctx, t, s, "news", strings.Repeat("x", 1000))
	for _, body := range []string{strings.Repeat("x", 1001), strings.Repeat("x", 2_000_000)} {
		_, err := s.Publish(ctx, client.Message{Topic: "news", Data: body})
		var refusal *client.Error
		if !errors.As(err, &refusal) || refusal.Status != http.StatusRequestEntityTooLarge || refusal.Code != "too_large" {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
	many := strings.Repeat(`{"topic":"news","data":"1"}`+"\n", 40)
	answer, body := caller.do(ctx, t, http.MethodPost, s.URL+"/event", many, "Authorization", "Bearer "+s.Token, "Content-Type", "application/x-ndjson")
	if answer.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "too_large") {
		t.Errorf("many: %s %s", answer.Status, body)
	}
	if body, err := s.Get(ctx, "/history"); err != nil || bytes.Count(body, []byte(`"id"`)) != 1 {
		t.Errorf("stored: %.200s, %v", body, err)
	}
}

func TestPublishingIsLimited(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--publish-rate", "10", "--trusted-proxy", "127.0.0.1")
	bearer := []string{"Authorization", "Bearer " + s.Token, "Content-Type", "application/x-ndjson"}
	publish := func(f from, n int) (*http.Response, string) {
		return f.do(ctx, t, http.MethodPost, s.URL+"/event", strings.Repeat(`{"topic":"news","data":1}`+"\n", n), bearer...)
	}
	wild := from{"127.0.0.2", ""}
	if answer, body := publish(wild, 100); answer.StatusCode != http.StatusOK || strings.Count(body, `"id"`) != 100 {
		t.Fatalf("ten seconds' worth: %s %s", answer.Status, body)
	}
	answer, body := publish(wild, 20)
	wait, err := strconv.Atoi(answer.Header.Get("Retry-After"))
	if err != nil || answer.StatusCode != http.StatusTooManyRequests || wait < 1 || wait > 2 || !strings.Contains(body, "rate_limited") {
		t.Fatalf("more: %s, Retry-After %q, %s", answer.Status, answer.Header.Get("Retry-After"), body)
	}
	if answer, body := publish(wild, 101); answer.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "too_many_events") {
		t.Errorf("more than ever passes: %s %s", answer.Status, body)
	}
	for _, other := range []from{{"127.0.0.3", ""}, {"127.0.0.1", "203.0.113.7"}} {
		if answer, body := publish(other, 100); answer.StatusCode != http.StatusOK {
			t.Errorf("%v: %s %s", other, answer.Status, body)
		}
	}
	<-time.After(time.Duration(wait) * time.Second)
	if answer, body := publish(wild, 20); answer.StatusCode != http.StatusOK {
		t.Errorf("after Retry-After: %s %s", answer.Status, body)
	}
	if body, err := s.Get(ctx, "/history?limit=1000"); err != nil || bytes.Count(body, []byte(`"id"`)) != 320 {
		t.Errorf("%d events are stored, %v", bytes.Count(body, []byte(`"id"`)), err)
	}
}

// With one replay at a time, every reader still gets everything in the end.
func TestReplaysAreLimited(t *testing.T) {
	t.Parallel()
	const readers, events = 12, 1000
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--max-replays", "1", "--window-bytes", "1B", "--counter-interval", "0")
	var acked ledger
	publishAll(ctx, t, s, slices.Repeat([]client.Message{{Topic: "news", Data: strings.Repeat("x", 400)}}, events), &acked)

	var reading sync.WaitGroup
	for n := range readers {
		reading.Go(func() {
			var all received
			for e, err := range s.Subscribe(ctx, client.Subscription{
				Topics: []string{"news"}, Since: "all",
				Disconnected: func(err error, _ time.Duration) { t.Errorf("reader %d lost its stream: %v", n, err) },
			}) {
				if err != nil {
					t.Errorf("reader %d, after %d events: %v", n, all.size(), err)
					return
				}
				if all.add(e); all.size() == events {
					break
				}
			}
			if err := all.fault(); err != nil || acked.missing(&all) > 0 {
				t.Errorf("reader %d: misses %d, %v", n, acked.missing(&all), err)
			}
		})
	}
	reading.Wait()
}

// publishAll publishes messages, which the server has to accept, and adds them to the ledgers.
func publishAll(ctx context.Context, t *testing.T, s *apptest.Process, messages []client.Message, acked ...*ledger) []client.Result {
	t.Helper()
	results, err := s.PublishAll(ctx, messages)
	must(t, err)
	for _, r := range results {
		must(t, r.Err)
		for _, l := range acked {
			l.add(r.ID)
		}
	}
	return results
}

// Clients that do not read their pages of history delay only themselves.
func TestPagesOfHistoryAreLimited(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir())
	publish(ctx, t, s, "news", strings.Repeat("x", 1<<20)) // more than the system's buffers hold
	wild, other := from{"127.0.0.2", ""}, from{"127.0.0.3", ""}
	var stuck []net.Conn
	deadline, _ := ctx.Deadline()
	for range 20 {
		conn, err := wild.dial(ctx, "tcp", s.Addr())
		must(t, err)
		defer conn.Close()
		must(t, errors.Join(conn.SetDeadline(deadline), conn.(*net.TCPConn).SetReadBuffer(4096)))
		_, err = fmt.Fprint(conn, "GET /history HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		stuck = append(stuck, conn)
	}
	answers := map[string]int{}
	for _, conn := range stuck {
		status := make([]byte, len("HTTP/1.1 200")) // and no more of it
		_, err := io.ReadFull(conn, status)
		must(t, err)
		answers[string(status)]++
	}
	if answers["HTTP/1.1 200"] != 16 || answers["HTTP/1.1 429"] != 4 {
		t.Errorf("answers: %v", answers)
	}
	page := func(f from) (int, string) {
		answer, body := f.do(ctx, t, http.MethodGet, s.URL+"/history?topic=none", "")
		return answer.StatusCode, answer.Header.Get("Retry-After") + " " + body
	}
	if status, body := page(wild); status != http.StatusTooManyRequests || !strings.HasPrefix(body, "5 ") || !strings.Contains(body, "too_many_pages") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := page(other); status != http.StatusOK {
		t.Errorf("another reader: %d %s", status, body)
	}
	for _, conn := range stuck {
		must(t, conn.Close())
	}
	must(t, apptest.Until(ctx, func() bool { status, _ := page(wild); return status == http.StatusOK }))
}

// The server disconnects a client that does not finish its headers, and keeps open streams.
// Other slow clients are tested in fake time.
func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir())
	stream := from{"127.0.0.1", ""}.opens(ctx, t, s, 1, "news")[0]
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	must(t, err)
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	must(t, conn.SetDeadline(deadline))
	began := time.Now()
	_, err = fmt.Fprint(conn, "GET /event HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	must(t, err)
	answer, err := io.ReadAll(conn)
	if took := time.Since(began); err != nil || took < 9*time.Second {
		t.Errorf("cut off after %v with %q, %v", took, answer, err)
	}
	id := publish(ctx, t, s, "news", "x")
	if f, err := next(stream, "news"); err != nil || f.ID != id.String() {
		t.Errorf("event %+v, %v; want %s", f, err, id)
	}
}
