package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"freshet/app"
	"freshet/app/apptest"
)

const fuzzedToken = "a-token-for-the-fuzzed"

// Whatever bytes arrive on a connection: no answer is a 500, no handler panics, every stream ends with its connection,
// and the log stays lines of printable text.
func FuzzConnection(f *testing.F) {
	const bearer = "Authorization: Bearer " + fuzzedToken + "\r\n"
	for _, in := range []string{
		"GET /event?topic=a&topic=b.*&since=all HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /event HTTP/1.0\r\nAccept: application/x-ndjson\r\nLast-Event-ID: \x80\xff\r\n\r\nGET /event",
		"GET /event/%0a%1b%5b31m%e2%80%ae?ticket=%00 HTTP/1.1\r\nHost: x\r\nUser-Agent: \xc2\x9b31m\xe2\x80\xae\r\n\r\n",
		"GET /history?limit=3&since=last&cursor=%ff HTTP/1.1\r\nHost: x\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //%2e%2e/assets/../go.mod HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\tb\r\nOrigin: null\r\n\r\n",
		"GET /assets/freshet.js HTTP/1.1\r\nHost: x\r\nRange: bytes=-1,5-,0-0\r\nIf-None-Match: \"\r\n\r\n",
		"OPTIONS /event/a HTTP/1.1\r\nHost: x\r\nOrigin: http://\xff\r\nAccess-Control-Request-Method: P\"T\r\n\r\n",
		"POST /event/a?type=%e2%80%ae HTTP/1.1\r\nHost: x\r\n" + bearer + "Content-Length: 2\r\n\r\nhi",
		"POST /event/a HTTP/1.1\r\nHost: x\r\n" + bearer + "Idempotency-Key: k\r\nContent-Length: 2\r\n\r\nhiPOST /event/a HTTP/1.1\r\nHost: x\r\n" + bearer + "Idempotency-Key: k\r\nContent-Length: 9\r\n\r\ncut",
		"POST /event HTTP/1.1\r\nHost: x\r\n" + bearer + "Transfer-Encoding: chunked\r\n\r\n1b\r\n{\"topic\":\"a\\u202e\",\"data\":1}\r\n0\r\n\r\n",
		"POST /event HTTP/1.1\r\nHost: x\r\n" + bearer + "Content-Type: application/x-ndjson\r\nExpect: 100-continue\r\nContent-Length: 31\r\n\r\n{\"topic\":\"a\",\"data\":\"\xff\"}\n\n{\"to\"}",
		"POST /event HTTP/1.1\r\nHost: x\r\n" + bearer + "Content-Type: application/x-ndjson; a=\"\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\nA:\n\n", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://\xff/ HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "\r\n\r\n",
	} {
		f.Add([]byte(in))
	}
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := net.Pipe()
		s.pipes.conns <- theirs
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = ours.Write(in) // until the server takes no more
		}()
		exchange(t, ours, sent, in)
		_ = ours.Close()
		<-sent
		<-s.closed // every handler has returned, and is logged
		s.logged.check(t)
	})
}

// exchange reads the answers to in, up to a stream. Behind the last whole request, the server may wait many seconds for the rest
// of another, so the connection closes once all of in is sent.
func exchange(t *testing.T, conn net.Conn, sent <-chan struct{}, in []byte) {
	answers := bufio.NewReader(conn)
	requests, rest := whole(in)
	for _, r := range requests {
		if !answered(t, answers, r) {
			return
		}
	}
	if !rest {
		return
	}
	go func() {
		<-sent
		_ = conn.Close()
	}()
	for answered(t, answers, nil) {
	}
}

// whole are the requests that arrive with all of their body, up to the first that does not, and whether there is one.
func whole(in []byte) (requests []*http.Request, rest bool) {
	if bytes.HasPrefix(in, []byte("PRI * HTTP/2.0")) {
		return nil, true // the server speaks HTTP/2, or waits for the rest of its preface
	}
	for unread := bufio.NewReader(bytes.NewReader(in)); ; {
		if _, err := unread.Peek(1); err != nil {
			return requests, false
		}
		r, err := http.ReadRequest(unread)
		if err != nil {
			return requests, true
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return requests, true
		}
		requests = append(requests, r)
	}
}

// answered reads the answer to a request, and reports whether there may be another one behind it: not behind a stream.
// Without a request, the answer may break off.
func answered(t *testing.T, answers *bufio.Reader, r *http.Request) bool {
	for {
		answer, err := http.ReadResponse(answers, r)
		if err != nil {
			return false // the connection is closed, or speaks HTTP/2
		}
		if answer.StatusCode >= 500 && !slices.Contains([]int{501, 503, 505, 507}, answer.StatusCode) {
			t.Errorf("answered with %s", answer.Status)
		}
		if answer.StatusCode < 200 {
			continue
		}
		if answer.Header.Get("X-Accel-Buffering") != "" {
			return false
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil && r != nil {
			t.Errorf("%s %s: the answer broke off: %v", r.Method, r.URL, err)
		}
		return true
	}
}

// fuzzed is the wired application behind a server of HTTP, on connections in memory.
type fuzzed struct {
	pipes  *pipes
	closed chan struct{} // gets one for each connection that is done
	logged printable
}

func newFuzzed(f *testing.F) *fuzzed {
	s := &fuzzed{pipes: &pipes{make(chan net.Conn), make(chan struct{})}, closed: make(chan struct{}, 1)}
	all := &slog.HandlerOptions{Level: slog.LevelDebug}
	logger := slog.New(slog.NewMultiHandler(slog.NewTextHandler(&s.logged, all), slog.NewJSONHandler(&s.logged, all)))
	a := apptest.WireLogger(f, logger, "--publish-token", fuzzedToken, "--retain-bytes", "1MiB", "--max-body", "4KiB",
		"--counter-interval", "5ms", "--heartbeat", "5ms")
	server := app.NewServer(a, logger)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			s.closed <- struct{}{}
		}
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.pipes) }()
	f.Cleanup(func() {
		must(f, server.Close())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			f.Error(err)
		}
	})
	return s
}

// printable takes a record a Write, and keeps what is wrong with it.
type printable struct {
	mu    sync.Mutex
	wrong []string
}

func (p *printable) Write(record []byte) (int, error) {
	line, ended := bytes.CutSuffix(record, []byte("\n"))
	err := json.Unmarshal(line, new(map[string]any))
	switch {
	case !ended || !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }):
		p.add("not one printable line: %q", record)
	case len(line) > 16<<10:
		p.add("a record of %d bytes: %.100s", len(line), line)
	case line[0] == '{' && err != nil:
		p.add("not JSON, %v: %s", err, line)
	case bytes.Contains(line, []byte("handler panicked")) || bytes.Contains(line, []byte(`"status":500`)) || bytes.Contains(line, []byte(fuzzedToken)):
		p.add("%s", line)
	}
	return len(record), nil
}

func (p *printable) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

func (p *printable) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.wrong) > 0 {
		t.Errorf("logged:\n%s", strings.Join(p.wrong, "\n"))
	}
	p.wrong = nil
}
