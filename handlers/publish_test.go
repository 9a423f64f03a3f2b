package handlers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet/eventlog"
	"freshet/ssetest"

	"github.com/google/go-cmp/cmp"
)

func TestPublish(t *testing.T) {
	s := newServer(t, nil)
	stream := ssetest.Get(t, s, "/event/>")
	stream.Next()
	for _, c := range []struct {
		target, body string
		headers      []string
		status       int
		answer       string // without the message
		event        string // type and data, if one is published
	}{
		{"/event/news", "hello", nil, 201, `{"id":"10-1","topic":"news"}`, "news hello"},
		{"/event/news", " \"as it stands\"\r\n", []string{"Content-Type", "application/json"}, 201, `{"id":"10-2","topic":"news"}`, "news  \"as it stands\"\n"},
		{"/event/news?type=flash", "", nil, 201, `{"id":"10-3","topic":"news"}`, "flash "},
		{"/event/news", "x", []string{"Event-Type", "message"}, 201, `{"id":"10-4","topic":"news"}`, "message x"},
		{"/event/gr%C3%B6%C3%9Fe.%E6%97%A5", "x", []string{"Idempotency-Key", "k"}, 201, `{"id":"10-5","topic":"größe.日"}`, "größe.日 x"},
		{"/event/gr%C3%B6%C3%9Fe.%E6%97%A5", "again", []string{"Idempotency-Key", "k"}, 200, `{"id":"10-5","topic":"größe.日"}`, ""},
		{"/event", `{"topic":"a","data":"text"}`, nil, 201, `{"id":"10-6","topic":"a"}`, "a text"},
		{"/event", `{"topic":"a","type":"b c","data":{"n": 1.50, "s": [ ]}}`, nil, 201, `{"id":"10-7","topic":"a"}`, `b c {"n":1.50,"s":[]}`},
		{"/event", `{"topic":"a","data":null}`, []string{"Idempotency-Key", "k"}, 201, `{"id":"10-8","topic":"a"}`, "a null"},

		{"/event/a.*", "x", nil, 400, "invalid_topic", ""},
		{"/event/counter", "x", nil, 400, "invalid_topic", ""},
		{"/event/gap", "x", nil, 400, "invalid_type", ""},
		{"/event/news?type=drain", "x", nil, 400, "invalid_type", ""},
		{"/event/news", "x", []string{"Event-Type", "a\x01b"}, 400, "invalid_type", ""},
		{"/event/news", "\xff", nil, 400, "invalid_data", ""},
		{"/event/news", strings.Repeat("x", 1001), nil, 413, "too_large", ""},
		{"/event/news", "x", []string{"Idempotency-Key", strings.Repeat("k", 201)}, 400, "invalid_idempotency_key", ""},
		{"/event", `{"data":"x"}`, nil, 400, "invalid_topic", ""},
		{"/event", `{"topic":"a"}`, nil, 400, "invalid_data", ""},
		{"/event", `{"topic":"a","data":"` + "\xff" + `"}`, nil, 400, "invalid_data", ""},
		{"/event", `{"topc":"a","data":"x"}`, nil, 400, "malformed", ""},
		{"/event", `{"topic":"a","data":"1"}` + "\n" + `{"topic":"a","data":"2"}`, nil, 400, "malformed", ""},
		{"/event", ``, nil, 400, "malformed", ""},
		{"/event?type=x", `{"topic":"a","data":"1"}`, nil, 400, "invalid_type", ""},
		{"/event", `{"topic":"a","data":"1"}`, []string{"Event-Type", "x"}, 400, "invalid_type", ""},
		{"/event", `[]`, nil, 400, "malformed", ""},
		{"/nowhere", ``, nil, 404, "not_found", ""},
	} {
		w := s.do("POST", c.target, c.body, c.headers...)
		answer := strings.TrimSpace(w.Body.String())
		if w.Code >= 400 {
			var body struct {
				Error struct{ Code, Message string }
			}
			must(t, json.Unmarshal(w.Body.Bytes(), &body))
			if answer = body.Error.Code; body.Error.Message == "" || strings.Contains(body.Error.Message, "\n") {
				t.Errorf("%s: message %q", c.target, body.Error.Message)
			}
		}
		if w.Code != c.status || answer != c.answer {
			t.Errorf("%s %.30q: %d %s", c.target, c.body, w.Code, w.Body)
		}
		if c.event != "" {
			if f := stream.NextEvent(); f.Type+" "+f.Data != c.event {
				t.Errorf("%s %q: event %q", c.target, c.body, f.Type+" "+f.Data)
			}
		}
	}
	if n := stream.Pending(); n != 0 {
		t.Errorf("%d bytes more: a refused event was published", n)
	}
}

func TestPublishNDJSON(t *testing.T) {
	s := newServer(t, nil)
	body := strings.Join([]string{
		`{"topic":"a","data":"1"}`,
		`nonsense`,
		`{"topic":"b","data":{"n":2}}` + "\r",
		`{"topic":"stats","data":"x"}`,
		`{"topic":"a","data":"3"}`,
	}, "\n") + "\n"
	for attempt := range 2 { // the second one is a retry: nothing is stored twice
		w := s.do("POST", "/event", body, "Content-Type", "application/x-ndjson; charset=utf-8", "Idempotency-Key", "k")
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-ndjson" || len(lines) != 5 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for i, want := range []string{`{"id":"10-1","topic":"a"}`, `{"error":{"code":"malformed"`, `{"id":"10-2","topic":"b"}`, `{"error":{"code":"invalid_topic"`, `{"id":"10-3","topic":"a"}`} {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("attempt %d, line %d: %s, want %s", attempt, i+1, lines[i], want)
			}
		}
	}
	state, err := s.log.State(t.Context())
	if err != nil || state.Events != 3 {
		t.Errorf("%d events are stored, %v", state.Events, err)
	}
	// The key of a single event differs from the keys of all lines.
	for _, key := range []string{"k", "k 0", "k0"} {
		if w := s.do("POST", "/event/a", "single", "Idempotency-Key", key); w.Code != http.StatusCreated {
			t.Errorf("key %q: %d %s", key, w.Code, w.Body)
		}
	}
}

func TestNobodyPublishesWithoutBeingKnown(t *testing.T) {
	s := newServer(t, nil)
	for _, target := range []string{"/event/news", "/event"} {
		for _, kind := range []string{"application/json", "application/x-ndjson"} {
			r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(`{"topic":"a","data":"x"}`))
			r.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != `Bearer realm="freshet"` || !strings.Contains(w.Body.String(), "Authorization: Bearer") {
				t.Errorf("%s %s: %d %s", target, kind, w.Code, w.Body)
			}
		}
	}
	if state, err := s.log.State(t.Context()); err != nil || state.Events != 0 {
		t.Errorf("%d events are stored, %v", state.Events, err)
	}
}

func TestTheLogsErrorsAreTold(t *testing.T) {
	s := newServer(t, nil)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("%w: disk", eventlog.ErrFull), 507, "log_full"},
		{fmt.Errorf("%w: timeout", eventlog.ErrUnavailable), 503, "log_unavailable"},
		{fmt.Errorf("%w: %w", eventlog.ErrUnavailable, eventlog.ErrRefused), 503, "nats_refused"},
		{fmt.Errorf("%w: 3 MB", eventlog.ErrTooLarge), 413, "too_large"},
		{fmt.Errorf("a secret of the server"), 500, "internal"},
	} {
		s.log.Fail(c.err)
		w := s.do("POST", "/event/news", "x")
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"`+c.code+`"`) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 503) {
			t.Errorf("%v: Retry-After %q", c.err, retry)
		}
		notReady := "not_ready"
		if errors.Is(c.err, eventlog.ErrRefused) {
			notReady = c.code // the operator has to do something
		}
		if w := s.do("GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), `"`+notReady+`"`) {
			t.Errorf("readyz: %d %s", w.Code, w.Body)
		}
	}
}

func TestHistoryIsReadByThePage(t *testing.T) {
	s := newServer(t, nil)
	for i := range 25 {
		s.log.Publish(t, []string{"a", "b"}[i%2], fmt.Sprint(i+1))
	}
	type page struct {
		Events []struct{ ID, Topic, Type, Data, Time string }
		Cursor string
		More   bool
	}
	get := func(target string) (p page, data string) {
		w := s.do("GET", target, "")
		must(t, json.Unmarshal(w.Body.Bytes(), &p))
		for _, e := range p.Events {
			data += e.Data + " "
		}
		return p, strings.TrimSpace(data)
	}
	first, data := get("/history?topic=a&limit=10")
	if data != "1 3 5 7 9 11 13 15 17 19" || !first.More || first.Cursor != "10-19" {
		t.Errorf("first page %s, %+v", data, first)
	}
	second, data := get("/history?topic=a&limit=10&cursor=" + first.Cursor)
	if data != "21 23 25" || second.More || second.Cursor != "10-25" {
		t.Errorf("second page %s, %+v", data, second)
	}
	if empty, data := get("/history?cursor=" + second.Cursor); data != "" || empty.Events == nil || empty.Cursor != "10-25" {
		t.Errorf("last page %s, %+v", data, empty)
	}
	if _, data := get("/history?since=-3"); data != "23 24 25" {
		t.Errorf("the newest 3: %s", data)
	}
	if _, data := get("/history?since=last"); data != "24 25" {
		t.Errorf("the last of each topic: %s", data)
	}
	if p, data := get("/history?cursor=zz-1&limit=2"); p.Events[0].Type != "gap" || !strings.Contains(data, `"reason":"epoch"`) {
		t.Errorf("another log's cursor: %s", data)
	}
	w := s.do("GET", "/history?since=10-23", "", "Accept", "application/x-ndjson")
	if diff := cmp.Diff(`"24" "25" {"id":"10-25"}`, linesData(t, w.Body.String())); diff != "" {
		t.Error(diff)
	}

	for i, topic := range []string{"c", "a", "b", "a"} {
		s.log.Publish(t, topic, fmt.Sprint(26+i))
	}
	var pages []string
	for p, target := (page{More: true}), "/history?since=last&limit=1"; p.More; target = "/history?since=last&limit=1&cursor=" + p.Cursor {
		p, data = get(target)
		pages = append(pages, data)
	}
	if diff := cmp.Diff([]string{"26", "28", "29"}, pages); diff != "" {
		t.Error("the last of each topic, page by page: " + diff)
	}
}

func linesData(t *testing.T, body string) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(body) {
		var e struct{ Data json.RawMessage }
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Data == nil {
			e.Data = json.RawMessage(strings.TrimSpace(line))
		}
		out = append(out, string(e.Data))
	}
	return strings.Join(out, " ")
}
