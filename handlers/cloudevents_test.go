package handlers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"freshet/event"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/ssetest"

	gocmp "github.com/google/go-cmp/cmp"
)

const (
	structured = "application/cloudevents+json"
	batched    = "application/cloudevents-batch+json"
)

func newCloudEventServer(t *testing.T) *server {
	t.Helper()
	return newServer(t, func(cfg *handlers.Config) { cfg.CloudEvents = true })
}

// cloudEvent is a CloudEvent as JSON, with more members.
func cloudEvent(id, more string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"com.example.paid"` + more + `}`
}

func TestCloudEvents(t *testing.T) {
	s := newCloudEventServer(t)
	stream := ssetest.Get(t, s, "/event/>")
	stream.Next()
	binary := func(headers ...string) []string {
		return append([]string{"Ce-Specversion", "1.0", "Ce-Source", "/shop", "Ce-Type", "com.example.paid", "Content-Type", "application/json"}, headers...)
	}
	for _, c := range []struct {
		body    string
		headers []string
		status  int
		events  []string // types and data
	}{
		{`{"n": 1}`, binary("Ce-Id", "b1"), 201, []string{`com.example.paid {"n": 1}`}},
		{`{"n": 1}`, binary("Ce-Id", "b1"), 200, nil},
		{`x`, binary("Ce-Id", "b1", "Ce-Source", "/other"), 201, []string{"com.example.paid x"}},
		{`x`, binary("Ce-Id", "b2", "Ce-Type", `"a \"b\" \\%20%E2%82%AC"`), 201, []string{`a "b" \ € x`}},
		{`x`, binary("Ce-Id", "100%", "Ce-Type", "100%2b%"), 201, []string{"100+% x"}},
		{cloudEvent("100%", ""), []string{"Content-Type", structured}, 200, nil},
		{"1\n2", binary("Ce-Id", "b3", "Content-Type", "application/x-ndjson", "Ce-Subject", "17"), 201, []string{"com.example.paid 1\n2"}},
		{"", binary("Ce-Id", "b4"), 201, []string{"com.example.paid "}},
		{cloudEvent("s1", `,"data":{"n": [ ]},"subject":"17","time":"2026-01-31T12:00:00Z"`), []string{"Content-Type", structured + "; charset=utf-8"}, 201, []string{`com.example.paid {"n":[]}`}},
		{cloudEvent("b1", ``), []string{"Content-Type", structured}, 200, nil}, // as in binary mode
		{cloudEvent("s2", `,"data":"text"`), []string{"Content-Type", structured}, 201, []string{`com.example.paid "text"`}},
		{cloudEvent("s3", `,"data":"text","datacontenttype":"text/plain"`), []string{"Content-Type", structured}, 201, []string{`com.example.paid text`}},
		{cloudEvent("s4", `,"data":"text","datacontenttype":"application/problem+json; charset=utf-8"`), []string{"Content-Type", structured}, 201, []string{`com.example.paid "text"`}},
		{cloudEvent("s5", `,"data_base64":"R3LDvMOfZQ==","datacontenttype":"text/plain"`), []string{"Content-Type", structured}, 201, []string{`com.example.paid Grüße`}},
		{cloudEvent("s6", `,"datacontenttype":null,"DATA":1`), []string{"Content-Type", structured, "Ce-Type", "not.this"}, 201, []string{`com.example.paid `}},
		{`[` + cloudEvent("l1", `,"data":1`) + `,` + cloudEvent("l2", `,"data":2`) + `,` + cloudEvent("l1", `,"data":3`) + `]`, []string{"Content-Type", batched}, 200,
			[]string{"com.example.paid 1", "com.example.paid 2"}},
		{`[]`, []string{"Content-Type", batched}, 200, nil},
		{"x", []string{"Content-Type", "text/plain"}, 201, []string{"orders x"}}, // no CloudEvent
	} {
		w := s.do("POST", "/event/orders", c.body, c.headers...)
		if w.Code != c.status {
			t.Errorf("%s %q: %d %s", c.body, c.headers, w.Code, w.Body)
		}
		for _, want := range c.events {
			if f := stream.NextEvent(); f.Type+" "+f.Data != want {
				t.Errorf("%s: event %q, want %q", c.body, f.Type+" "+f.Data, want)
			}
		}
	}
	if n := stream.Pending(); n != 0 {
		t.Errorf("%d bytes more", n)
	}
	w := s.do("POST", "/event/orders", `[`+cloudEvent("l1", "")+`,`+cloudEvent("l3", "")+`]`, "Content-Type", batched)
	if want := `[{"id":"10-13","topic":"orders"},{"id":"10-16","topic":"orders"}]` + "\n"; w.Body.String() != want {
		t.Errorf("a batch is answered with %s, want %s", w.Body, want)
	}
}

// A refused CloudEvent says what is wrong, and nothing of its request is stored.
func TestRefusedCloudEvents(t *testing.T) {
	s := newCloudEventServer(t)
	text := func(kind string) []string { return []string{"Content-Type", kind} }
	binary := []string{"Ce-Specversion", "1.0", "Ce-Source", "/shop", "Ce-Type", "a", "Ce-Id", "1"}
	for _, c := range []struct {
		target, body string
		headers      []string
		status       int
		code, want   string
	}{
		{"/event/a", "x", binary[:6], 400, "malformed", "has no id"},
		{"/event/a", "x", binary[2:], 400, "malformed", "has no specversion"},
		{"/event/a", "x", append(binary[2:], "Ce-Specversion", "0.3"), 400, "malformed", `0.3`},
		{"/event/a", "x", append(binary[:6:6], "Ce-Id", "%C0%A0"), 400, "malformed", "ce-id"},
		{"/event/a", "x", append(binary[:6:6], "Ce-Id", "\xff"), 400, "malformed", "UTF-8"},
		{"/event/a", "x", append(binary[:8:8], "Ce-Type", "gap"), 400, "invalid_type", "reserved"},
		{"/event/a", "\xff", binary, 400, "invalid_data", "UTF-8"},
		{"/event/a", "x", append(binary[:8:8], "Idempotency-Key", "k"), 400, "malformed", "Idempotency-Key"},
		{"/event/a", "x", append(binary[:8:8], "Event-Type", "k"), 400, "malformed", "Event-Type"},
		{"/event/a?type=b", "x", binary, 400, "malformed", "type"},
		{"/event/a?end", "x", binary, 400, "malformed", "end"},
		{"/event/counter", "x", binary, 400, "invalid_topic", "reserved"},
		{"/event/a", strings.Repeat("x", 1001), binary, 413, "too_large", "1000"},
		{"/event", "x", binary, 400, "malformed", "/event/{topic}"},
		{"/event", cloudEvent("1", ""), text(structured), 400, "malformed", "/event/{topic}"},
		{"/event/a", `null`, text(structured), 400, "malformed", "JSON object"},
		{"/event/a", `{"id":"` + "\xff" + `"}`, text(structured), 400, "malformed", "UTF-8"},
		{"/event/a", cloudEvent(`1","id":17,"x":"`, ""), text(structured), 400, "malformed", "id of the CloudEvent must be a string"},
		{"/event/a", cloudEvent("1", `,"type":null`), text(structured), 400, "malformed", "has no type"},
		{"/event/a", cloudEvent("1", `,"data":1,"data_base64":"AA=="`), text(structured), 400, "malformed", "one of them"},
		{"/event/a", cloudEvent("1", `,"data_base64":"%"`), text(structured), 400, "malformed", "Base64"},
		{"/event/a", cloudEvent("1", `,"data_base64":"/w=="`), text(structured), 400, "invalid_data", "UTF-8"},
		{"/event/a", cloudEvent("1", ``), text(batched), 400, "malformed", "array"},
		{"/event/a", `[` + cloudEvent("1", ``) + `,{}]`, text(batched), 400, "malformed", "CloudEvent 2 of the batch"},
		{"/event/a", `[` + cloudEvent("1", ``) + `,` + cloudEvent("2", `,"type":"gap"`) + `]`, text(batched), 400, "invalid_type", "CloudEvent 2 of the batch"},
		{"/event/a", "<event/>", text("application/cloudevents+xml"), 415, "unsupported_format", "+json"},
		{"/event/a", "", text("Application/CloudEvents-Batch+avro"), 415, "unsupported_format", "+json"},
	} {
		w := s.do("POST", c.target, c.body, c.headers...)
		if code := wantRefused(t, w); w.Code != c.status || code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %q: %d %s, want %d %s with %q", c.body, c.headers, w.Code, w.Body, c.status, c.code, c.want)
		}
	}
	if stored := eventsOf(t, s.log); len(stored) > 0 {
		t.Errorf("%d events are stored", len(stored))
	}
	s.log.Fail(eventlog.ErrUnavailable)
	if w := s.do("POST", "/event/a", `[`+cloudEvent("1", ``)+`]`, "Content-Type", batched); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a batch without a log: %d %s", w.Code, w.Body)
	}
}

// Without the setting, the body is the data, as in earlier versions.
func TestCloudEventsAreOffByDefault(t *testing.T) {
	s := newServer(t, nil)
	body := cloudEvent("1", `,"data":1`)
	for range 2 {
		if w := s.do("POST", "/event/a", body, "Content-Type", structured, "Ce-Id", "1"); w.Code != http.StatusCreated {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if diff := gocmp.Diff([]string{"10-1 a a " + body, "10-2 a a " + body}, lines(eventsOf(t, s.log))); diff != "" {
		t.Error(diff)
	}
}

// Whatever is posted as a CloudEvent is refused, or stored with its type and data: alone as in a batch.
func FuzzCloudEvent(f *testing.F) {
	for _, body := range []string{
		cloudEvent("1", `,"data":{"n": 1.50}`), cloudEvent("1", `,"data":"\ud800\u0000"`), cloudEvent("ü", `,"data":"a","datacontenttype":"text/plain"`),
		cloudEvent("1", `,"data":1,"datacontenttype":"x"`), cloudEvent("1", `,"data_base64":"eA=="`), cloudEvent("1", `,"data":null`), cloudEvent("1", `,"type":"gap"`),
		`{"specversion":"1.0"}`, `null`, ``, `[]`, cloudEvent("1", `,"data":1,"data":2`), cloudEvent("1", `,"TYPE":"x"`), cloudEvent("\xff", ""),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > fuzzedBody-2 {
			return
		}
		alone, together := newCloudEventServer(t), newCloudEventServer(t)
		w := alone.do("POST", "/event/a", body, "Content-Type", structured)
		inBatch := together.do("POST", "/event/a", "["+body+"]", "Content-Type", batched)
		stored := eventsOf(t, alone.log)
		if w.Code != http.StatusCreated {
			wantRefused(t, w)
			if len(stored) > 0 {
				t.Errorf("refused, and stored as %q", stored[0].Data())
			}
			return
		}
		if diff := gocmp.Diff(lines(stored), lines(eventsOf(t, together.log))); diff != "" || len(stored) != 1 || inBatch.Code != http.StatusOK {
			t.Fatalf("(-alone +in a batch, which is answered with %d):\n%s", inBatch.Code, diff)
		}
		var want struct{ Type string }
		exact := map[string]json.RawMessage{}
		must(t, json.Unmarshal([]byte(body), &exact))
		must(t, json.Unmarshal(exact["type"], &want.Type))
		if e := stored[0]; e.Type().String() != want.Type || e.Type().Reserved() || e.Topic().String() != "a" {
			t.Errorf("%q is stored as %v", body, e)
		}
	})
}

// A header is refused, or gives the attribute whose encoding it is.
func FuzzCloudEventHeader(f *testing.F) {
	for _, value := range []string{"a", `"a b"`, `"\"\\"`, "%E2%82%AC", "%e2%82%ac", "%C0%A0", "%", `"`, `"\"`, " ", "ü", "\xff", "a%00", "%2", "%%41", "gap", "message"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s := newCloudEventServer(t)
		w := s.do("POST", "/event/a", "x", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/", "Ce-Type", value)
		stored := eventsOf(t, s.log)
		if w.Code != http.StatusCreated {
			if wantRefused(t, w); len(stored) > 0 {
				t.Errorf("refused, and stored as %v", stored[0])
			}
			return
		}
		typ := stored[0].Type()
		again := s.do("POST", "/event/b", "x", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/", "Ce-Type", percentEncoded(typ.String()))
		if stored = eventsOf(t, s.log); again.Code != http.StatusCreated || stored[1].Type() != typ {
			t.Errorf("%q is the type %q, which comes back with %d as %v", value, typ, again.Code, stored)
		}
		if parsed, err := event.ParseType(typ.String()); err != nil || parsed != typ {
			t.Errorf("%q is stored with the type %q: %v", value, typ, err)
		}
	})
}

// percentEncoded encodes each byte.
func percentEncoded(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteString("%" + string(digits[c>>4]) + string(digits[c&15]))
	}
	return b.String()
}
