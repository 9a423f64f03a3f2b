package faults_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"
	"freshet/event"
)

// A proxy passes each event on at once: it arrives before the next is published.
func TestProxyPassesEventsOnAtOnce(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx, s := startSilent(t)
		p := k.start(ctx, t, s.Addr())
		// Like a browser without HTTP/2, and one with it.
		old := &http.Client{Transport: &http.Transport{DialTLSContext: p.from("")}}
		for _, transport := range []*http.Client{old, p.Client} {
			for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
				pingPong(ctx, t, transport, p.URL, s.Token, accept)
			}
		}
	})
}

// nginx without our configuration does the same, because the server's header asks for it. It
// uses HTTP/1.0 to the server.
func TestProxyOfDefaultsPassesEventsOnAtOnce(t *testing.T) {
	t.Parallel()
	ctx, s := startSilent(t)
	const site = "server { listen %s; location / { proxy_pass %s; %s } }"
	p := newProxy(t, "nginx")
	p.configure(t, fmt.Sprintf(site, p.plain, s.URL, ""))
	p.start(ctx, t)
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		pingPong(ctx, t, http.DefaultClient, "http://"+p.plain, s.Token, accept)
	}

	// A proxy that ignores the header holds events back, so the header makes the difference.
	p = newProxy(t, "nginx")
	p.configure(t, fmt.Sprintf(site, p.plain, s.URL, "proxy_ignore_headers X-Accel-Buffering;"))
	p.start(ctx, t)
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := client.New(client.Config{URL: "http://" + p.plain})
	must(t, err)
	r, err := c.Open(soon, client.Subscription{Topics: []string{"news"}, Header: asBrowser()})
	if err == nil {
		defer r.Close()
		_, err = r.Next()
	}
	if err == nil || soon.Err() == nil {
		t.Errorf("a proxy that buffers passed the opening on, or its connection broke: %v", err)
	}
}

// A body of the largest size passes the proxy. For a larger one the server itself refuses it.
func TestProxyPassesLargeBodiesOn(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir())
		p := k.start(ctx, t, s.Addr())
		body := strings.Repeat("x", 1<<20)
		c := p.client(t, p.Client, s.Token)
		_, err := c.Publish(ctx, client.Message{Topic: "news", Data: body})
		must(t, err)
		if id, err := c.Publish(ctx, client.Message{Topic: "news", Data: body + "x"}); err == nil || !strings.Contains(err.Error(), "too_large") {
			t.Errorf("a byte more than --max-body: %v, %v", id, err)
		}
	})
}

// A stream over HTTP/1.0 has no chunks, and ends with its connection.
func TestStreamOverHTTP10(t *testing.T) {
	t.Parallel()
	ctx, s := startSilent(t)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	must(t, err)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_, err = io.WriteString(conn, "GET /event/news HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if answer.StatusCode != http.StatusOK || answer.TransferEncoding != nil || !answer.Close || answer.ContentLength != -1 {
		t.Errorf("%s, transfer encoding %q, close %v, length %d", answer.Status, answer.TransferEncoding, answer.Close, answer.ContentLength)
	}
	frames := event.NewScanner(answer.Body, 1<<20)
	var got []string
	for frames.Scan() {
		switch f := frames.Frame(); {
		case len(got) == 0: // the opening
			got = append(got, "opened")
			publish(ctx, t, s, "news", "hello")
		case f.Data == "hello":
			got = append(got, f.Type)
			must(t, s.Signal(syscall.SIGTERM))
		case f.HasData:
			got = append(got, f.Type)
		}
	}
	if want := []string{"opened", "news", "drain"}; !slices.Equal(got, want) || frames.Err() != nil {
		t.Errorf("got %q, then %v; want %q and the end", got, frames.Err(), want)
	}
	must(t, s.Wait(ctx))
}

// startSilent starts a server without heartbeats, so that its streams carry published events
// and nothing else that could flush a buffer.
func startSilent(t *testing.T) (context.Context, *apptest.Process) {
	t.Helper()
	ctx := begin(t)
	return ctx, start(ctx, t, t.TempDir(), "--heartbeat", "0")
}

// pingPong publishes each event after the one before has arrived.
func pingPong(ctx context.Context, t *testing.T, transport *http.Client, url, token, accept string) {
	t.Helper()
	const count = 50
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	begun := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/event/news", nil)
	must(t, err)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := transport.Do(r)
	must(t, err)
	defer answer.Body.Close()
	if got := answer.Header; answer.StatusCode != http.StatusOK || got.Get("Content-Type") != accept || got.Get("Content-Encoding") != "" {
		t.Fatalf("%s %s %v", answer.Proto, answer.Status, got)
	}
	lines, frames := bufio.NewScanner(answer.Body), event.NewScanner(answer.Body, 1<<20)
	read := func() (e struct{ ID, Data string }, err error) {
		if accept == "text/event-stream" {
			if !frames.Scan() {
				return e, errors.Join(errors.New("the stream has ended"), frames.Err())
			}
			e.ID, e.Data = frames.Frame().ID, frames.Frame().Data
			return e, nil
		}
		if !lines.Scan() {
			return e, errors.Join(errors.New("the stream has ended"), lines.Err())
		}
		return e, json.Unmarshal(lines.Bytes(), &e)
	}
	opening, err := read()
	if err != nil || opening.ID == "" || opening.Data != "" {
		t.Fatalf("opening over %s: %+v, %v", answer.Proto, opening, err)
	}
	publisher, err := client.New(client.Config{URL: url, Token: token, HTTP: transport})
	must(t, err)
	for n := range count {
		data := fmt.Sprint(n)
		id, err := publisher.Publish(ctx, client.Message{Topic: "news", Data: data})
		must(t, err)
		if e, err := read(); err != nil || e.ID != id.String() || e.Data != data {
			t.Fatalf("over %s, event %d as %s: got %+v after %v; %v", answer.Proto, n, id, e, time.Since(begun), err)
		}
	}
	t.Logf("%s over %s: %d events, there and back in %v each", accept, answer.Proto, count, time.Since(begun)/count)
}

// The proxies pass the browser's Host on, so the server needs their name. Without it, the answer says so.
func TestProxyWithItsName(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		for _, c := range []struct {
			flags  []string
			status int
			body   string
		}{{nil, http.StatusMisdirectedRequest, "--host NAME"}, {[]string{"--host", "freshet.example.org"}, http.StatusOK, `"events"`}} {
			s := start(ctx, t, t.TempDir(), c.flags...)
			p := k.start(ctx, t, s.Addr())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/history", nil)
			must(t, err)
			r.Host = "freshet.example.org"
			answer, err := p.Client.Do(r)
			must(t, err)
			body, err := io.ReadAll(answer.Body)
			must(t, errors.Join(err, answer.Body.Close()))
			if answer.StatusCode != c.status || !strings.Contains(string(body), c.body) {
				t.Errorf("with %q: %s %s", c.flags, answer.Status, body)
			}
		}
	})
}
