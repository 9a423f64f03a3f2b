package handlers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/event"
	"freshet/eventlog/eventlogtest"

	"github.com/google/go-cmp/cmp"
)

func TestStreamsOverTCP(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		news, all := s.open(ctx, t, "/event/news", 0), s.open(ctx, t, "/event", 0)
		for want := range 3 {
			if f := next(t, all, "message"); f.Data != fmt.Sprint(want+1) || f.ID == "" {
				t.Fatalf("count %+v, want %d", f, want+1)
			}
		}
		s.settled(ctx, t, 2)
		for i := range 200 {
			s.log.Publish(t, "news", fmt.Sprintf("%d %s", i, strings.Repeat("x", i*10)))
			s.log.Publish(t, "other", "y")
		}
		for _, r := range []*tcpReader{news, all} {
			for i := range 200 {
				if f := next(t, r, "news"); !strings.HasPrefix(f.Data, fmt.Sprint(i, " ")) || len(f.Data) < i*10 {
					t.Fatalf("event %d is %.20q", i, f.Data)
				}
			}
		}
		// A heartbeat moves the cursor past the other topic's events.
		last := ""
		for {
			f, err := news.Next()
			must(t, err)
			if !f.HasData && f.ID != last && last != "" {
				break
			}
			last = f.ID
			if strings.HasSuffix(f.ID, "-400") {
				break
			}
		}
		news.Close()
		if err := apptest.Until(ctx, func() bool { return s.hub.Stats().Subscribers == 1 }); err != nil {
			t.Error("a reader that has gone is still a subscriber")
		}
	})
}

// Who stops reading falls behind the window and is served from the log when it reads on.
func TestAStreamThatFallsBehindOverTCP(t *testing.T) {
	onBothPaths(t, 64<<10, func(ctx context.Context, t *testing.T, s *tcpServer) {
		slow, quick := s.open(ctx, t, "/event/n", 64<<10), s.open(ctx, t, "/event/n", 0)
		s.settled(ctx, t, 2)
		const events = 3000
		pad := strings.Repeat("x", 5000)
		read := make(chan error, 1)
		go func() { read <- inOrder(quick, events) }()
		for i := range events {
			s.log.Publish(t, "n", fmt.Sprint(i, " ", pad))
		}
		must(t, <-read) // the slow one holds up nobody
		must(t, inOrder(slow, events))
		s.settled(ctx, t, 2)
		s.log.Publish(t, "n", "last")
		if f := next(t, slow, "n"); f.Data != "last" {
			t.Errorf("event %.20q", f.Data)
		}
	})
}

func inOrder(r *tcpReader, events int) error {
	for i := range events {
		f, err := r.Event("n")
		if err != nil {
			return fmt.Errorf("before event %d: %w", i, err)
		}
		if !strings.HasPrefix(f.Data, fmt.Sprint(i, " ")) {
			return fmt.Errorf("event %d is %.20q", i, f.Data)
		}
	}
	return nil
}

// The little that a peer sends behind its request does no harm, and the answer ends as HTTP wants it.
func TestDrainOverTCP(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /event/n HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		r := bufio.NewReader(conn)
		answer, err := http.ReadResponse(r, nil)
		must(t, err)
		s.settled(ctx, t, 1)
		_, err = io.WriteString(conn, strings.Repeat("more of it", 300))
		must(t, err)
		s.log.Publish(t, "n", "one")
		frames := event.NewScanner(answer.Body, 1<<20)
		for frames.Scan() && frames.Frame().Data != "one" {
		}
		must(t, s.Drain(ctx, 10*time.Millisecond))
		var last event.Frame
		for frames.Scan() {
			last = frames.Frame()
		}
		if frames.Err() != nil || last.Type != "drain" || last.Retry < time.Second {
			t.Errorf("the stream ended with %+v, %v", last, frames.Err())
		}
		if n := s.hub.Stats().Subscribers; n != 0 || s.Parked() != 0 {
			t.Errorf("%d subscribers and %d parked are left", n, s.Parked())
		}
	})
}

// A client that sends more than a little after its request is closed: the system would keep it for as long as the stream is open.
func TestAClientThatSendsAfterItsRequestIsClosed(t *testing.T) {
	const request = "GET /event/n HTTP/1.1\r\nHost: x\r\n\r\n"
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		for name, pieces := range map[string][]int{"at once": {100_000}, "later": {0, 5000}, "slowly": {4000, 1000, 1000, 1000, 1000, 1000}} {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			must(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, request+strings.Repeat("x", pieces[0]))
			must(t, err)
			if name != "at once" { // there, a reset may be faster than the response
				_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 200")))
				must(t, err)
			}
			for _, n := range pieces[1:] {
				_, _ = conn.Write(make([]byte, n)) // an error: it is closed
			}
			for reason := any(nil); reason != "sent data"; {
				select {
				case record := <-s.records: // of the opening, and of the end
					if reason = record["reason"]; reason != nil && reason != "sent data" {
						t.Fatalf("%s: the record is %v", name, record)
					}
				case <-ctx.Done():
					t.Fatalf("%s: the stream is still open", name)
				}
			}
		}
		if n := s.hub.Stats().Subscribers; n != 0 || s.Parked() != 0 {
			t.Errorf("%d subscribers and %d parked are left", n, s.Parked())
		}
	})
}

// The request log's record of a stream is the same, wherever the stream has been.
func TestTheRecordOfAStreamOverTCP(t *testing.T) {
	onBothPaths(t, 64<<10, func(ctx context.Context, t *testing.T, s *tcpServer) {
		long := strings.Repeat("é", 400) // the record has a part of it
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /event?topic=n&topic=n.*&topic=n&topic=counter&_=secret HTTP/1.1\r\nHost: x\r\n"+
			"Connection: close\r\nUser-Agent: "+long+"\r\nOrigin: http://x\r\n\r\n")
		must(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		s.settled(ctx, t, 1)
		events, sent := 0, &counting{r: answer.Body}
		frames := event.NewScanner(sent, 1<<20)
		// More than the window holds while nothing is read, so that a parked one leaves its place and comes back.
		for i := range 3000 {
			s.log.Publish(t, "n", fmt.Sprint(i, strings.Repeat("x", 5000)))
		}
		for frames.Scan() {
			if f := frames.Frame(); f.HasData {
				events++
				if f.Type == "n" && strings.HasPrefix(f.Data, "2999x") {
					s.settled(ctx, t, 1)
					must(t, s.Drain(ctx, 0))
				}
			}
		}
		must(t, frames.Err())
		var got map[string]any
		for got["msg"] != "stream closed" {
			select {
			case got = <-s.records:
			case <-ctx.Done():
				t.Fatal("no record")
			}
		}
		if got["duration"] == 0.0 || events < 3001 {
			t.Errorf("%d events in %v", events, got["duration"])
		}
		delete(got, "time")
		delete(got, "duration")
		want := map[string]any{
			"level": "INFO", "msg": "stream closed", "request_id": "", "method": "GET", "path": "/event", "status": 200.0,
			"query": "topic=n&topic=n.*&topic=n&topic=counter&[1 hidden]", "client": "127.0.0.1",
			"user_agent": long[:512] + "…", "origin": "http://x", "bytes": float64(sent.n),
			"topics": "n n.* counter", "from": event.NewID(eventlogtest.Epoch, 0).String(), "events": float64(events), "reason": "drain",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the record, -want +got:\n%s", diff)
		}
	})
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// What parking is not for goes its way, and a place that was left is free for the next.
func TestWhoIsNotParked(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		for _, request := range []string{
			"GET /event/n HTTP/1.0\r\n\r\n",
		} {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			must(t, err)
			_, err = io.WriteString(conn, request)
			must(t, err)
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			data := "data of " + request[:20]
			s.log.Publish(t, "n", data)
			lines := bufio.NewScanner(answer.Body)
			for lines.Scan() && !strings.Contains(lines.Text(), data) {
			}
			must(t, lines.Err())
			if s.Parked() != 0 {
				t.Errorf("parked: %.20q", request)
			}
			must(t, conn.Close())
		}
		if err := apptest.Until(ctx, func() bool { return s.hub.Stats().Subscribers == 0 }); err != nil {
			t.Error("readers that have gone are still subscribers")
		}
	})
}

// NDJSON is as an event stream is: parked, with the cursor while it is quiet, and told of the drain.
func TestLines(t *testing.T) {
	onBothPaths(t, 0, func(ctx context.Context, t *testing.T, s *tcpServer) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/event?topic=n&topic=counter", nil)
		must(t, err)
		request.Header.Set("Accept", "application/x-ndjson")
		answer, err := http.DefaultClient.Do(request)
		must(t, err)
		defer answer.Body.Close()
		type line struct {
			ID, Topic, Type string
			Data            *string
			Retry           int
		}
		lines := bufio.NewScanner(answer.Body)
		read := func(what string, is func(line) bool) line {
			t.Helper()
			for lines.Scan() {
				var l line
				must(t, json.Unmarshal(lines.Bytes(), &l))
				if is(l) {
					return l
				}
			}
			t.Fatalf("the stream ended before %s: %v", what, lines.Err())
			return line{}
		}
		if l := read("its opening", func(line) bool { return true }); l.ID == "" || l.Retry < 1000 || l.Data != nil {
			t.Errorf("the opening is %+v", l)
		}
		s.settled(ctx, t, 1)
		var want, got []string
		for i := range 300 { // more than one write takes
			data := fmt.Sprintf("line %d\n%s", i, strings.Repeat("é", 200))
			want = append(want, s.log.Publish(t, "n", data).String()+" n n "+data)
		}
		for range want {
			l := read("all events", func(l line) bool { return l.Topic == "n" })
			got = append(got, l.ID+" "+l.Topic+" "+l.Type+" "+*l.Data)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		first := read("a count", func(l line) bool { return l.Topic == "counter" })
		second := read("another", func(l line) bool { return l.Topic == "counter" })
		n, err := strconv.Atoi(*first.Data)
		if err != nil || *second.Data != strconv.Itoa(n+1) {
			t.Errorf("counts %s and %s, %v", *first.Data, *second.Data, err)
		}
		last, _, _ := strings.Cut(want[len(want)-1], " ")
		if l := read("a heartbeat", func(l line) bool { return l.Data == nil }); l.ID != last || l.Retry != 0 {
			t.Errorf("the heartbeat is %+v, want the cursor %s", l, last)
		}
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(ctx, 0) }()
		if l := read("the drain", func(l line) bool { return l.Type == "drain" }); l.ID != "" || l.Retry < 1000 {
			t.Errorf("the drain: %+v", l)
		}
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("after the drain: %q, %v", lines.Text(), lines.Err())
		}
		must(t, <-drained)
	})
}
