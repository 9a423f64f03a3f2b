package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/app/apptest"
	"freshet/event"
)

// HTTP/2, over TLS as browsers speak it, and without as proxies do.

var http2Kinds = []string{"over TLS", "without TLS"}

func TestStreamsOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, kind := range http2Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, client := startHTTP2(t, kind, "--counter-interval", "0")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			const n = 100
			dials := 0
			counting := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
				if !got.Reused {
					dials++
				}
			}})
			var streams []*http2Stream
			for range n {
				streams = append(streams, openHTTP2(counting, t, client, s.URL+"/event/news"))
			}
			if dials != 1 {
				t.Errorf("%d connections for %d streams, want one", dials, n)
			}
			large := strings.Repeat("x", 100<<10)
			for _, data := range []string{"hello", large} {
				id, err := s.Publish(ctx, "news", "", data, "")
				must(t, err)
				for i, stream := range streams {
					if f := stream.event(t); f.ID != id || f.Data != data || f.Type != "news" {
						t.Fatalf("stream %d: %.100v", i, f)
					}
				}
			}
			// A reader that goes is gone, though its connection stays; and it resumes.
			for _, stream := range streams[1:] {
				stream.close()
			}
			waitForStreams(ctx, t, s, 1)
			id, err := s.Publish(ctx, "news", "", "meanwhile", "")
			must(t, err)
			resumed := openHTTP2(ctx, t, client, s.URL+"/event/news?last_event_id="+streams[1].last)
			if f := resumed.event(t); f.ID != id || f.Data != "meanwhile" {
				t.Errorf("resumed with %.100v", f)
			}
			if f := streams[0].event(t); f.ID != id {
				t.Errorf("the one that stayed: %.100v", f)
			}

			// The end: each is told, and its answer is whole.
			stopped := make(chan struct{})
			go func() { s.Stop(); close(stopped) }()
			for _, stream := range []*http2Stream{streams[0], resumed} {
				if f := stream.event(t); f.Type != "drain" {
					t.Errorf("event %.100v, want drain", f)
				}
				if stream.Scan() || stream.Err() != nil {
					t.Errorf("after drain: %v, %v", stream.Frame(), stream.Err())
				}
			}
			<-stopped
		})
	}
}

// Who holds many streams on one connection is bounded as if each had its own.
func TestLimitsHoldForStreamsOfHTTP2(t *testing.T) {
	t.Parallel()
	for _, kind := range http2Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, client := startHTTP2(t, kind, "--max-connections-per-address", "3")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for range 3 {
				openHTTP2(ctx, t, client, s.URL+"/event/news")
			}
			refused := openHTTP2(ctx, t, client, s.URL+"/event/news")
			if refused.first.Retry < 5*time.Second || refused.Scan() || refused.Err() != nil {
				t.Errorf("the fourth: %+v, then %+v, %v", refused.first, refused.Frame(), refused.Err())
			}
		})
	}
}

// maxStreamsOfAConnection is what the server tells HTTP/2 clients.
const maxStreamsOfAConnection = 250

// A connection holds 250 streams; clients open another for more, or wait.
func TestAConnectionOfHTTP2HoldsManyStreams(t *testing.T) {
	t.Parallel()
	s, client := startHTTP2(t, "without TLS", "--counter-interval", "0", "--heartbeat", "10s")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dials := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if !got.Reused {
			dials++
		}
	}})
	for range maxStreamsOfAConnection + 20 {
		openHTTP2(ctx, t, client, s.URL+"/event/news")
	}
	if dials != 2 {
		t.Errorf("%d connections for %d streams, want 2", dials, maxStreamsOfAConnection+20)
	}
}

// Streams that are opened only to be reset (CVE-2023-44487) leave nothing, and take nothing
// from others.
func TestRapidResets(t *testing.T) {
	t.Parallel()
	for _, kind := range http2Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, client := startHTTP2(t, kind, "--counter-interval", "0", "--heartbeat", "10s")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			healthy := openHTTP2(ctx, t, &http.Client{Transport: client.Transport.(*http.Transport).Clone()}, s.URL+"/event/news")
			var all sync.WaitGroup
			for range 2000 {
				short, end := context.WithCancel(ctx)
				all.Go(func() {
					r, err := http.NewRequestWithContext(short, http.MethodGet, s.URL+"/event/news", nil)
					if err != nil {
						t.Error(err)
						return
					}
					if answer, err := client.Do(r); err == nil {
						_ = answer.Body.Close()
					}
				})
				end()
			}
			all.Wait()
			waitForStreams(ctx, t, s, 1)
			id, err := s.Publish(ctx, "news", "", "hello", "")
			must(t, err)
			if f := healthy.event(t); f.ID != id {
				t.Errorf("event %+v", f)
			}
		})
	}
}

// TLS is no reason to speak HTTP/2, and nobody's connection is parked below it.
func TestHTTP1OverTLS(t *testing.T) {
	t.Parallel()
	flags := apptest.Certificate(t)
	s := apptest.Start(t, t.TempDir(), "", flags...)
	transport := apptest.Trusting(t, flags[1])
	transport.Protocols = &http.Protocols{}
	transport.Protocols.SetHTTP1(true)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/event/news", nil)
	must(t, err)
	answer, err := transport.RoundTrip(r)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	defer transport.CloseIdleConnections()
	if answer.ProtoMajor != 1 {
		t.Fatalf("spoken: %s", answer.Proto)
	}
	frames := event.NewScanner(answer.Body, 1<<20)
	for i := range 3 {
		id, err := s.Publish(t.Context(), "news", "", fmt.Sprint(i), "")
		must(t, err)
		for frames.Scan() && !frames.Frame().HasData {
		}
		if f := frames.Frame(); f.ID != id || f.Data != fmt.Sprint(i) {
			t.Errorf("event %+v, %v", f, frames.Err())
		}
	}

	// Who takes the port for one without TLS is told so.
	plain, err := http.Get("http://" + s.Addr + "/event")
	must(t, err)
	text, err := io.ReadAll(plain.Body)
	if must(t, errors.Join(err, plain.Body.Close())); plain.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "HTTPS") {
		t.Errorf("without TLS: %s %s", plain.Status, text)
	}
}

// A peer whose connection takes nothing at all, whatever its streams, does not last; nor
// does one that says nothing.
func TestDeadConnectionsOfHTTP2AreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, log := servePipes(t, "a-token-for-the-tests")
		conn, theirs := net.Pipe()
		closed := make(chan struct{})
		server.conns <- &telling{theirs, sync.OnceFunc(func() { close(closed) })}
		stop := make(chan struct{})
		transport := &http.Transport{Protocols: &http.Protocols{}, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return &stopping{conn, stop}, nil
		}}
		transport.Protocols.SetUnencryptedHTTP2(true)
		stream := openHTTP2(t.Context(), t, &http.Client{Transport: transport}, "http://pipe/event/n")
		log.Publish(t, "n", "x")
		if f := stream.event(t); f.Data != "x" {
			t.Fatalf("event %+v", f)
		}
		close(stop)
		log.Publish(t, "n", "the read that is under way takes this")
		synctest.Wait()
		began := time.Now()
		log.Publish(t, "n", "and nobody this")
		<-closed
		// Once a write has failed its streams are gone, and it is idle.
		if took := time.Since(began); took > 40*time.Second+2*time.Minute+2*time.Second {
			t.Errorf("cut off after %v", took)
		}
		stream.close()
		transport.CloseIdleConnections()

		for sent, after := range map[string]time.Duration{
			"PRI * HTTP/2.0\r\n":               10 * time.Second, // half the preface
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 2*time.Minute + 10*time.Second,
		} {
			began := time.Now()
			conn := server.dial(t, sent)
			_, _ = io.Copy(io.Discard, bufio.NewReader(conn)) // until the end
			if took := time.Since(began); took > after {
				t.Errorf("%q: cut off after %v", sent, took)
			}
			must(t, conn.Close())
		}
	})
}

// stopping is a connection of which nothing is read once stop is closed.
type stopping struct {
	net.Conn
	stop chan struct{}
}

func (c *stopping) Read(p []byte) (int, error) {
	select {
	case <-c.stop:
		return 0, io.EOF
	default:
		return c.Conn.Read(p)
	}
}

func (c *stopping) Close() error { return nil } // it stays, and takes nothing

// telling tells when it is closed.
type telling struct {
	net.Conn
	closed func()
}

func (c *telling) Close() error {
	c.closed()
	return c.Conn.Close()
}

// startHTTP2 starts a server, and makes a client that speaks nothing but HTTP/2 to it.
func startHTTP2(t *testing.T, kind string, flags ...string) (*apptest.Server, *http.Client) {
	t.Helper()
	if kind == http2Kinds[0] {
		flags = append(flags, apptest.Certificate(t)...)
	}
	s := apptest.Start(t, t.TempDir(), "", flags...)
	transport := s.HTTP.Transport.(*http.Transport).Clone()
	transport.Protocols = &http.Protocols{}
	transport.Protocols.SetHTTP2(kind == http2Kinds[0])
	transport.Protocols.SetUnencryptedHTTP2(kind != http2Kinds[0])
	t.Cleanup(transport.CloseIdleConnections)
	return s, &http.Client{Transport: transport}
}

type http2Stream struct {
	*event.Scanner
	first event.Frame
	last  string // event ID
	close func()
}

func openHTTP2(ctx context.Context, t *testing.T, client *http.Client, url string) *http2Stream {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	answer, err := client.Do(r)
	must(t, err)
	if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", answer.Proto, answer.Status)
	}
	s := &http2Stream{Scanner: event.NewScanner(answer.Body, 2<<20), close: func() { _ = answer.Body.Close() }}
	t.Cleanup(s.close)
	if !s.Scan() {
		t.Fatalf("the stream ended: %v", s.Err())
	}
	s.first = s.Frame()
	return s
}

func (s *http2Stream) event(t *testing.T) event.Frame {
	t.Helper()
	for s.Scan() {
		if f := s.Frame(); f.HasData {
			s.last = f.ID
			return f
		}
	}
	t.Fatalf("the stream ended: %v", s.Err())
	return event.Frame{}
}

// waitForStreams waits until the server has as many, beside the one that asks.
func waitForStreams(ctx context.Context, t *testing.T, s *apptest.Server, n int) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/event/stats", nil)
	must(t, err)
	answer, err := s.HTTP.Do(r)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	frames := event.NewScanner(answer.Body, 1<<20)
	for frames.Scan() {
		if strings.Contains(frames.Frame().Data, fmt.Sprintf(`"connections":%d,`, n+1)) {
			return
		}
	}
	t.Fatalf("never were there %d streams: %v", n, frames.Err())
}
