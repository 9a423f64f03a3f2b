package middleware_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/middleware"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
)

const frames = "data: 1\n\ndata: 2\n\ndata: 3\n\n"

// start serves HTTP/1.1 or HTTP/2. The returned stop waits for all handlers, and with them for their records.
func start(t *testing.T, engine *gin.Engine, http2 bool) (get func(target string) *http.Response, stop func()) {
	t.Helper()
	var handlers sync.WaitGroup // Close waits for HTTP/1.1 handlers only
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		engine.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = http2
	if http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	get = func(target string) *http.Response {
		t.Helper()
		response, err := server.Client().Do(request(t, "GET "+server.URL+target, "User-Agent: test"))
		if err != nil {
			t.Fatal(err)
		}
		if response.ProtoAtLeast(2, 0) != http2 {
			t.Fatalf("served by %s", response.Proto)
		}
		return response
	}
	stop = func() {
		server.Close()
		handlers.Wait()
	}
	return get, stop
}

// stream sends three frames with c.Stream and then calls end.
func stream(end func(c *gin.Context)) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		addToRecord(c, slog.String("topics", "a"))
		c.Writer.Flush()
		count := 0
		c.Stream(func(w io.Writer) bool {
			count++
			_, _ = fmt.Fprintf(w, "data: %d\n\n", count)
			return count < 3
		})
		addToRecord(c, slog.Int("events", count), slog.String("reason", "test"))
		end(c)
	}
}

func messages(records []map[string]any) string {
	var messages []string
	for _, record := range records {
		messages = append(messages, record["msg"].(string))
	}
	return strings.Join(messages, ", ")
}

func TestLogOfAStream(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		engine, logged := application(t)
		engine.GET("/event", stream(func(*gin.Context) {}))
		get, stop := start(t, engine, http2)
		response := get("/event?ticket=s3cret")
		// The first record is written before the first byte.
		if got := logged.records(t); len(got) == 0 || got[0]["msg"] != "stream opened" {
			t.Errorf("HTTP/2 %v: at the opening: %v", http2, got)
		}
		if got := body(t, response); got != frames {
			t.Errorf("HTTP/2 %v: got %q, want %q", http2, got, frames)
		}
		stop()
		records := logged.records(t)
		if got := messages(records); got != "stream opened, stream closed" {
			t.Fatalf("HTTP/2 %v: records %s:\n%s", http2, got, logged)
		}
		for _, record := range records {
			if record["request_id"] != response.Header.Get("X-Request-ID") || record["path"] != "/event" || record["status"] != 200.0 ||
				record["query"] != "ticket=[redacted]" || record["user_agent"] != "test" || record["client"] != "127.0.0.1" ||
				record["topics"] != "a" || record["level"] != "INFO" || record["aborted"] != nil {
				t.Errorf("HTTP/2 %v: %v", http2, record)
			}
		}
		opened, closed := records[0], records[1]
		if opened["duration"] != nil || opened["bytes"] != nil || opened["events"] != nil {
			t.Errorf("HTTP/2 %v: at the opening: %v", http2, opened)
		}
		if closed["duration"].(float64) <= 0 || closed["bytes"] != float64(len(frames)) || closed["events"] != 3.0 || closed["reason"] != "test" {
			t.Errorf("HTTP/2 %v: at the close: %v", http2, closed)
		}
	}
}

func TestStreamOnARecorder(t *testing.T) {
	engine, logged := application(t)
	engine.GET("/event", stream(func(*gin.Context) {}))
	// Gin alone panics here, because the recorder has no CloseNotify.
	if got := body(t, serve(engine, request(t, "GET /event"))); got != frames {
		t.Errorf("got %q, want %q", got, frames)
	}
	if got := messages(logged.records(t)); got != "stream opened, stream closed" {
		t.Errorf("records %s", got)
	}
}

func TestPanicInAnOpenStreamCutsTheConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		engine, logged := application(t)
		engine.GET("/event", stream(func(*gin.Context) { panic("out of ideas") }))
		get, stop := start(t, engine, http2)
		response := get("/event")
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err == nil {
			t.Errorf("HTTP/2 %v: the stream seems to end well", http2)
		}
		if !http2 && (!errors.Is(err, io.ErrUnexpectedEOF) || string(text) != frames) {
			t.Errorf("got %q, %v; want %q and a cut connection", text, err, frames)
		}
		if strings.Contains(string(text), "internal") {
			t.Errorf("HTTP/2 %v: an error was written into the stream: %q", http2, text)
		}
		stop()
		records := logged.records(t)
		if got := messages(records); got != "stream opened, handler panicked, stream closed" {
			t.Fatalf("HTTP/2 %v: records %s:\n%s", http2, got, logged)
		}
		id := response.Header.Get("X-Request-ID")
		if panicked := records[1]; panicked["level"] != "ERROR" || panicked["panic"] != "out of ideas" || panicked["request_id"] != id ||
			!strings.Contains(panicked["stack"].(string), "stream_test.go") {
			t.Errorf("HTTP/2 %v: %v", http2, panicked)
		}
		if closed := records[2]; closed["aborted"] != true || closed["request_id"] != id || closed["events"] != 3.0 {
			t.Errorf("HTTP/2 %v: %v", http2, closed)
		}
	}
}

func TestPanicBeforeAnythingIsWritten(t *testing.T) {
	engine, logged := application(t)
	engine.GET("/event", func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		c.Header("Content-Length", "5")
		c.Header("Cache-Control", "max-age=3600")
		c.Status(http.StatusOK)
		panic(errors.New("out of ideas"))
	})
	get, stop := start(t, engine, false)
	response := get("/event")
	if got := response.Header.Get("Cache-Control"); got != "" {
		t.Errorf("a failure may be cached: %q", got)
	}
	wantRefusal(t, response, http.StatusInternalServerError, "internal", "the server has failed; look for the request ID in its log")
	stop()
	records := logged.records(t)
	if got := messages(records); got != "handler panicked, request" {
		t.Fatalf("records %s:\n%s", got, logged)
	}
	if got := records[1]; got["level"] != "ERROR" || got["status"] != 500.0 || got["error"] != "panic: out of ideas" || got["aborted"] != nil ||
		got["request_id"] != response.Header.Get("X-Request-ID") {
		t.Errorf("%v", got)
	}
}

func TestAbortPassesThrough(t *testing.T) {
	engine, logged := application(t)
	engine.GET("/event", func(*gin.Context) { panic(fmt.Errorf("a slow reader: %w", http.ErrAbortHandler)) })
	server := httptest.NewServer(engine)
	defer server.Close()
	response, err := server.Client().Do(request(t, "GET "+server.URL+"/event"))
	if err == nil {
		_ = response.Body.Close()
		t.Errorf("got status %d, want a cut connection", response.StatusCode)
	}
	server.Close()
	records := logged.records(t)
	for _, record := range records {
		if record["msg"] != "request" || record["aborted"] != true || record["level"] != "INFO" {
			t.Errorf("%v", record)
		}
	}
	if len(records) == 0 { // the client may have tried again
		t.Error("nothing was logged")
	}
}

func TestStreamLearnsThatTheReaderIsGone(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		engine, logged := application(t)
		engine.GET("/event", func(c *gin.Context) {
			c.Writer.Flush()
			select {
			case <-c.Writer.CloseNotify():
			case <-time.After(30 * time.Second):
				t.Errorf("HTTP/2 %v: CloseNotify did not report", http2)
			}
		})
		get, stop := start(t, engine, http2)
		_ = get("/event").Body.Close()
		stop()
		if got := messages(logged.records(t)); got != "stream opened, stream closed" {
			t.Errorf("HTTP/2 %v: records %s", http2, got)
		}
	}
}

func TestDeadlinesReachTheConnection(t *testing.T) {
	engine, _ := application(t)
	engine.GET("/event", func(c *gin.Context) {
		control := http.NewResponseController(c.Writer)
		if err := control.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		c.Status(http.StatusAccepted)
		if err := control.Flush(); err != nil {
			t.Error(err)
		}
	})
	get, stop := start(t, engine, false)
	response := get("/event")
	if got := body(t, response); response.StatusCode != http.StatusAccepted || got != "" {
		t.Errorf("status %d, body %q", response.StatusCode, got)
	}
	stop()
}

func TestHijack(t *testing.T) {
	engine, _ := application(t)
	engine.GET("/event", func(c *gin.Context) {
		connection, buffered, err := http.NewResponseController(c.Writer).Hijack()
		if err != nil {
			c.String(http.StatusNotImplemented, "%v", errors.Is(err, http.ErrNotSupported))
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken")
		_ = buffered.Flush()
	})
	get, stop := start(t, engine, false)
	if got := body(t, get("/event")); got != "taken" {
		t.Errorf("HTTP/1.1: got %q", got)
	}
	stop()
	get, stop = start(t, engine, true)
	if got := body(t, get("/event")); got != "true" {
		t.Errorf("HTTP/2: got %q, want http.ErrNotSupported", got)
	}
	stop()
	if got := body(t, serve(engine, request(t, "GET /event"))); got != "true" {
		t.Errorf("recorder: got %q, want http.ErrNotSupported", got)
	}
}

func TestStreamArrivesFrameByFrame(t *testing.T) {
	engine, _ := application(t)
	next := make(chan struct{})
	engine.GET("/event", func(c *gin.Context) {
		for i := 1; i <= 3; i++ {
			_, _ = fmt.Fprintf(c.Writer, "data: %d\n\n", i)
			c.Writer.Flush()
			select {
			case <-next:
			case <-c.Request.Context().Done():
				return
			}
		}
	})
	get, stop := start(t, engine, false)
	response := get("/event")
	reader := bufio.NewReader(response.Body)
	for i := 1; i <= 3; i++ {
		line, err := reader.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
		_, _ = reader.ReadString('\n')
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v; want the end", rest, err)
	}
	_ = response.Body.Close()
	stop()
}

// A stream that outlives its handler is logged when it ends, with the data of its request.
func TestLogOfADetachedStream(t *testing.T) {
	engine, logged := application(t)
	var finish func(int, ...slog.Attr)
	engine.GET("/event", func(c *gin.Context) {
		addToRecord(c, slog.String("topics", "a"))
		c.Writer.Flush()
		finish = c.MustGet("access_log").(accessLog).Detach()
	})
	engine.GET("/other", func(*gin.Context) {})
	serve(engine, request(t, "GET /event?ticket=s3cret", "User-Agent: test", "X-Request-ID: r-1"))
	if got := messages(logged.records(t)); got != "stream opened" {
		t.Fatalf("when the handler has returned: %s", got)
	}
	serve(engine, request(t, "GET /other")) // reuses the gin.Context
	finish(4711, slog.String("topics", "a"), slog.String("reason", "test"))
	records := logged.records(t)
	if got := messages(records); got != "stream opened, request, stream closed" {
		t.Fatalf("records %s:\n%s", got, logged)
	}
	closed := records[2]
	if duration := closed["duration"].(float64); duration <= 0 {
		t.Errorf("duration %v", duration)
	}
	delete(closed, "time")
	delete(closed, "duration")
	want := map[string]any{
		"level": "INFO", "msg": "stream closed", "request_id": "r-1", "method": "GET", "path": "/event", "query": "ticket=[redacted]",
		"status": 200.0, "bytes": 4711.0, "client": "192.0.2.7", "user_agent": "test", "topics": "a", "reason": "test",
	}
	if diff := cmp.Diff(want, closed); diff != "" {
		t.Error(diff)
	}
}

// There may be half a million detached records: each keeps one short copy of its request.
func TestDetachedRecordsAreSmall(t *testing.T) {
	const count = 20_000
	finish := make([]func(int, ...slog.Attr), 0, count)
	engine := gin.New()
	engine.Use(middleware.RequestID(), middleware.Log(slog.New(slog.DiscardHandler), public))
	engine.GET("/event", func(c *gin.Context) {
		addToRecord(c, slog.String("topics", strings.Repeat("a", 1000)))
		finish = append(finish, c.MustGet("access_log").(accessLog).Detach())
	})
	before := heap()
	for range count {
		engine.ServeHTTP(nowhere{http.Header{}}, request(t, "GET /event?topic=a", "User-Agent: test", "Cookie: "+strings.Repeat("c", 1000)))
	}
	if grown := (heap() - before) / count; grown > 160 {
		t.Errorf("%d bytes each", grown)
	}
	runtime.KeepAlive(finish)
}
