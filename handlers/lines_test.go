package handlers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
)

// lineWriter is a publisher that sends lines while it reads the response.
type lineWriter struct {
	t        *testing.T
	body     *io.PipeWriter
	response *http.Response
	lines    *bufio.Scanner
}

// writeLines begins a request. The server answers before the first line.
func (s *tcpServer) writeLines(ctx context.Context, t *testing.T, target string, header ...string) *lineWriter {
	t.Helper()
	read, write := io.Pipe()
	response := s.post(ctx, t, target, read, header...)
	t.Cleanup(func() { _ = response.Body.Close() })
	return &lineWriter{t, write, response, bufio.NewScanner(response.Body)}
}

func (w *lineWriter) write(values ...string) {
	w.t.Helper()
	for _, value := range values {
		line, err := json.Marshal(value)
		must(w.t, err)
		_, err = w.body.Write(append(line, '\n'))
		must(w.t, err)
	}
}

// expect reads a line of the response.
func (w *lineWriter) expect(want string) {
	w.t.Helper()
	if !w.lines.Scan() {
		w.t.Fatalf("the response ends (%v), want %s", w.lines.Err(), want)
	}
	if got := w.lines.Text(); got != want {
		w.t.Fatalf("the response has %s, want %s", got, want)
	}
}

// expectLine reads responses until one says that so many lines are stored.
func (w *lineWriter) expectLine(number uint64) {
	w.t.Helper()
	for w.lines.Scan() {
		var result struct {
			Line  uint64
			Error any
		}
		must(w.t, json.Unmarshal(w.lines.Bytes(), &result))
		if result.Error != nil || result.Line > number {
			w.t.Fatalf("the response has %s, want line %d", w.lines.Text(), number)
		}
		if result.Line == number {
			return
		}
	}
	w.t.Fatalf("the response ends (%v) before line %d", w.lines.Err(), number)
}

// stored returns the events of the topic.
func (s *tcpServer) stored(t *testing.T, topic string) (events []string) {
	t.Helper()
	_, err := s.log.Read(t.Context(), 0, eventlogtest.Patterns(t, topic), 1<<30, func(e event.Event) error {
		events = append(events, e.Type().String()+" "+e.Data())
		return nil
	})
	must(t, err)
	return events
}

func TestPublishingLines(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		w := s.writeLines(ctx, t, "/event/steps?type=step")
		w.expect(`{"line":0}`)
		w.write("one")
		w.expect(`{"id":"10-1","line":1}`)
		_, err := io.WriteString(w.body, "\n  {\"n\": 2}\r\n\n")
		must(t, err)
		w.expect(`{"id":"10-2","line":2}`)
		must(t, w.body.Close())
		if w.lines.Scan() {
			t.Errorf("one more line: %s", w.lines.Text())
		}
		if got, want := s.stored(t, "steps"), []string{"step one", `step {"n":2}`}; !slices.Equal(got, want) {
			t.Errorf("stored %q, want %q", got, want)
		}
		for _, c := range []struct{ target, body, want string }{
			{"/event/a?join=words", `"x"`, `"invalid_join"`},
			{"/event/a.*", `"x"`, `"invalid_topic"`},
			{"/event/a?line=0", `"x"`, `"invalid_line"`},
			{"/event/a?line=2", `"x"`, `needs an Idempotency-Key`},
			{"/event/a?type=end", `"x"`, `"invalid_type"`},
			{"/event/a", "\"x\"\nnot JSON\n\"y\"", `{"line":0}
{"id":"10-3","line":1}
{"error":{"code":"malformed","message":"the request is malformed: line 2 is not a JSON value"},"line":1}`},
			{"/event/a", "\"\xff\"", `"malformed"`},
			{"/event/b", `"` + strings.Repeat("x", 2<<20) + `"`, `"too_large"`},
			{"/event/c?end", "\"last\"", `{"line":0}
{"id":"10-4","line":1}
{"id":"10-5","line":1}`},
			{"/event/c", `"x"`, `"ended"`},
		} {
			w := s.writeBody(ctx, t, c.target, c.body)
			text, err := io.ReadAll(w.Body)
			must(t, err)
			must(t, w.Body.Close())
			if !strings.Contains(string(text), c.want) {
				t.Errorf("%s %.20q was answered %d %s", c.target, c.body, w.StatusCode, text)
			}
		}
	})
}

// writeBody sends the whole body at once.
func (s *tcpServer) writeBody(ctx context.Context, t *testing.T, target, body string, header ...string) *http.Response {
	t.Helper()
	return s.post(ctx, t, target, strings.NewReader(body), header...)
}

// post sends lines to publish.
func (s *tcpServer) post(ctx context.Context, t *testing.T, target string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+target, body)
	must(t, err)
	request.Header.Set("Operator", operatorToken)
	request.Header.Set("Content-Type", "application/x-ndjson")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	request.Close = true // the server closes the connection after an error in the midst of a body
	response, err := http.DefaultTransport.RoundTrip(request)
	must(t, err)
	return response
}

// A publisher whose connection breaks sends its lines again, all or some. Nothing is lost or repeated, whatever was joined.
func TestPublishedLinesContinue(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		words := make([]string, 300)
		for i := range words {
			words[i] = fmt.Sprintf("%d ", i+1)
		}
		sent := 0
		for attempt := 0; sent < len(words); attempt++ {
			w := s.writeLines(ctx, t, "/event/answer?join=text", "Idempotency-Key", "answer 17")
			if !w.lines.Scan() {
				t.Fatal(w.lines.Err())
			}
			var first struct{ Line int }
			must(t, json.Unmarshal(w.lines.Bytes(), &first))
			if first.Line < sent || first.Line > 100*attempt {
				t.Fatalf("attempt %d continues after line %d; %d were acknowledged", attempt, first.Line, sent)
			}
			w.write(words[:100*(attempt+1)]...)
			if attempt%2 == 0 {
				w.expectLine(uint64(100 * (attempt + 1)))
				sent = 100 * (attempt + 1)
			}
			_ = w.body.CloseWithError(io.ErrClosedPipe) // the connection breaks
		}
		s.log.Publish(t, "answer", "|")
		w := s.writeBody(ctx, t, "/event/answer?join=text&end&line=300", ndjson([]string{words[299], "the end"}), "Idempotency-Key", "answer 17")
		text, err := io.ReadAll(w.Body)
		must(t, err)
		must(t, w.Body.Close())
		if !strings.HasPrefix(string(text), `{"line":300}`) || !strings.Contains(string(text), `"line":301}`) {
			t.Errorf("the last request was answered %s", text)
		}
		w = s.writeBody(ctx, t, "/event/answer?line=303", `"x"`, "Idempotency-Key", "answer 17")
		refused, err := io.ReadAll(w.Body)
		must(t, err)
		must(t, w.Body.Close())
		if !strings.Contains(string(refused), "must be 302 or less") {
			t.Errorf("a line too far was answered %d %s", w.StatusCode, refused)
		}
		again := s.writeBody(ctx, t, "/event/answer?join=text&end", ndjson(append(words, "the end")), "Idempotency-Key", "answer 17")
		repeat, err := io.ReadAll(again.Body)
		must(t, err)
		must(t, again.Body.Close())
		if want := `{"line":301}` + "\n" + lastLine(string(text)); strings.TrimSpace(string(repeat)) != want {
			t.Errorf("the same request again was answered %s, want %s", repeat, want)
		}
		var whole string
		events := s.stored(t, "answer")
		for _, e := range events[:len(events)-1] {
			_, data, _ := strings.Cut(e, " ")
			whole += data
		}
		if want := strings.Join(words, "") + "|the end"; whole != want || len(events) > 200 {
			t.Errorf("%d events have %q", len(events), whole)
		}
	})
}

func ndjson(values []string) string {
	var body strings.Builder
	for _, value := range values {
		fmt.Fprintf(&body, "%q\n", value)
	}
	return body.String()
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// Two requests with one key, of which one is old: each line is stored once, whoever sends it.
func TestLinesOfTwoRequests(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		old := s.writeLines(ctx, t, "/event/answer", "Idempotency-Key", "k")
		old.write("a", "b")
		old.expectLine(2)
		current := s.writeLines(ctx, t, "/event/answer", "Idempotency-Key", "k")
		current.expect(`{"line":2}`)
		current.write("a", "b", "c")
		current.expectLine(3)
		old.write("c", "d")
		old.expectLine(4)
		current.write("d", "e")
		current.expectLine(5)
		if got, want := s.stored(t, "answer"), []string{"answer a", "answer b", "answer c", "answer d", "answer e"}; !slices.Equal(got, want) {
			t.Errorf("stored %q, want %q", got, want)
		}
	})
}

// Joined lines become an event after --coalesce, or at 4 KiB.
func TestLinesAreJoined(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		w := s.writeLines(ctx, t, "/event/answer?join=lines")
		w.expect(`{"line":0}`)
		w.write("one", "two\nlines")
		w.expectLine(2)
		w.write(strings.Repeat("x", 3000), strings.Repeat("y", 3000), "z")
		w.expectLine(5)
		got := strings.Join(s.stored(t, "answer"), "\n")
		if want := "one\ntwo\nlines\n" + strings.Repeat("x", 3000) + "\n" + strings.Repeat("y", 3000) + "\nz"; strings.ReplaceAll(got, "answer ", "") != want {
			t.Errorf("stored %.200q", got)
		}
	})
}

// A server that stops ends the request, and the publisher continues with another one.
func TestLinesDuringADrain(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		w := s.writeLines(ctx, t, "/event/answer?join=text&end", "Idempotency-Key", "k")
		w.write("a")
		w.expectLine(1)
		must(t, s.Drain(ctx, time.Millisecond))
		if !w.lines.Scan() || !strings.Contains(w.lines.Text(), `"draining"`) || !strings.HasSuffix(w.lines.Text(), `"line":1}`) {
			t.Errorf("the response has %s", w.lines.Text())
		}
		if got := s.stored(t, "answer"); len(got) != 1 {
			t.Errorf("stored %q", got)
		}
	})
}

// A publisher may be silent for long, and then end the body: the response has its end too.
func TestLinesAfterALongSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(cfg *handlers.Config) { cfg.CounterInterval = -1 })
		server := &http.Server{Handler: s, WriteTimeout: time.Minute, ReadTimeout: 30 * time.Second}
		listener := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		conn := listener.dial()
		_, err := io.WriteString(conn, "POST /event/answer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-for-the-tests\r\n"+
			"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\"x\"\n\r\n")
		must(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		lines := bufio.NewScanner(response.Body)
		for range 2 {
			lines.Scan()
		}
		pass(4 * time.Minute)
		_, err = io.WriteString(conn, "0\r\n\r\n")
		must(t, err)
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("the response ends with %q, %v", lines.Text(), lines.Err())
		}
		must(t, conn.Close())

		// A silence that is too long ends the request.
		conn = listener.dial()
		_, err = io.WriteString(conn, "POST /event/answer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-for-the-tests\r\n"+
			"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
		must(t, err)
		response, err = http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		text, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(text), `"code":"timeout"`) {
			t.Errorf("after five minutes: %q, %v", text, err)
		}
		must(t, errors.Join(conn.Close(), server.Close()))
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
