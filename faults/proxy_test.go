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

	"freshet/bench/drive"
	"freshet/event"
)

// Events pass a proxy one by one: each is here before the next is published.
func TestProxyPassesEventsOnAtOnce(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx, s := startSilent(t)
		p := k.start(ctx, t, address(s))
		// As a browser without HTTP/2 speaks to it, and with.
		old := &http.Client{Transport: &http.Transport{DialTLSContext: p.from("")}}
		for _, client := range []*http.Client{old, p.Client} {
			for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
				pingPong(ctx, t, client, p.URL, s.Token, accept)
			}
		}
	})
}

// nginx as it comes does the same, because the server asks it to. It speaks HTTP/1.0 to it.
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

	// One that is told not to listen holds events back: so the above is no matter of course.
	p = newProxy(t, "nginx")
	p.configure(t, fmt.Sprintf(site, p.plain, s.URL, "proxy_ignore_headers X-Accel-Buffering;"))
	p.start(ctx, t)
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := drive.Open(soon, drive.Request{URL: "http://" + p.plain + "/event/news"})
	if err == nil {
		defer r.Close()
		_, err = r.Next()
	}
	if err == nil || soon.Err() == nil {
		t.Errorf("a proxy that buffers passed the opening on, or its connection broke: %v", err)
	}
}

// What is too large is refused by the server, in its own words; what just is not gets through.
func TestProxyPassesLargeBodiesOn(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir())
		p := k.start(ctx, t, address(s))
		body := strings.Repeat("x", 1<<20)
		_, err := publishWith(ctx, p.Client, p.URL, s.Token, body)
		must(t, err)
		if id, err := publishWith(ctx, p.Client, p.URL, s.Token, body+"x"); err == nil || !strings.Contains(err.Error(), "too_large") {
			t.Errorf("a byte more than --max-body: %q, %v", id, err)
		}
	})
}

// A stream over HTTP/1.0 has no chunks, and ends with its connection.
func TestStreamOverHTTP10(t *testing.T) {
	t.Parallel()
	ctx, s := startSilent(t)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(s))
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
			_, err := s.Publish(ctx, "news", "hello", "")
			must(t, err)
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

// startSilent starts a server whose streams carry what is published, and nothing else that
// could push it on.
func startSilent(t *testing.T) (context.Context, *drive.Server) {
	t.Helper()
	ctx := begin(t)
	return ctx, start(ctx, t, t.TempDir(), "--heartbeat", "0")
}

// address is the server's host:port.
func address(s *drive.Server) string { return strings.TrimPrefix(s.URL, "http://") }

// pingPong publishes events, each when the one before has come back.
func pingPong(ctx context.Context, t *testing.T, client *http.Client, url, token, accept string) {
	t.Helper()
	const count = 50
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	begun := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/event/news", nil)
	must(t, err)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := client.Do(r)
	must(t, err)
	defer answer.Body.Close()
	if got := answer.Header; answer.StatusCode != http.StatusOK || got.Get("Content-Type") != accept || got.Get("Content-Encoding") != "" {
		t.Fatalf("%s %s %v", answer.Proto, answer.Status, got)
	}
	lines, frames := bufio.NewScanner(answer.Body), event.NewScanner(answer.Body, 1<<20)
	next := func() (e struct{ ID, Data string }, err error) {
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
	opening, err := next()
	if err != nil || opening.ID == "" || opening.Data != "" {
		t.Fatalf("opening over %s: %+v, %v", answer.Proto, opening, err)
	}
	for n := range count {
		data := fmt.Sprint(n)
		id, err := publishWith(ctx, client, url, token, data)
		must(t, err)
		if e, err := next(); err != nil || e.ID != id || e.Data != data {
			t.Fatalf("over %s, event %d as %s: got %+v after %v; %v", answer.Proto, n, id, e, time.Since(begun), err)
		}
	}
	t.Logf("%s over %s: %d events, there and back in %v each", accept, answer.Proto, count, time.Since(begun)/count)
}

// publishWith publishes by the client, which need not be one of package drive.
func publishWith(ctx context.Context, client *http.Client, url, token, data string) (id string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/event/news", strings.NewReader(data))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("publish: %s %s", answer.Status, body)
	}
	var stored struct{ ID string }
	err = json.Unmarshal(body, &stored)
	return stored.ID, err
}
