package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"freshet/event"
)

func TestTopics(t *testing.T) {
	for _, s := range []string{"news", "orders.new", "a", "a.b.c", "größe.日本", "a-b_c:d", "message", "$SYS.x", strings.Repeat("x", 200), segments(32)} {
		topic, err := event.ParseTopic(s)
		if err != nil || topic.String() != s {
			t.Errorf("ParseTopic(%q) = %q, %v", s, topic, err)
		}
	}
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", "*", ">", "a.>", "a/b", "a,b", "a\nb", "a\rb", "a\x00", "a\u2028b", "a\u00a0b", "\xff", strings.Repeat("x", 201), segments(33)} {
		_, err := event.ParseTopic(s)
		var invalid *event.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "topic" {
			t.Errorf("ParseTopic(%q): error %v, want an InvalidError of the topic", s, err)
		}
	}
}

// segments returns a topic of n segments.
func segments(n int) string { return strings.Repeat("s.", n-1) + "s" }

func TestStoredTopicsMayHaveMore(t *testing.T) {
	for name, ok := range map[string]bool{segments(33): true, segments(100): true, "a": true, "a,b": true, segments(101): false, "a..b": false, "": false} {
		stored, err := event.ParseStoredTopic(name)
		if (err == nil) != ok || ok && (stored.String() != name || !event.All.Match(stored)) {
			t.Errorf("ParseStoredTopic(%q) = %q, %v", name, stored, err)
		}
	}
}

func TestPatternsMatchLikeNATSSubjects(t *testing.T) {
	for _, c := range []struct {
		pattern, topic string
		want           bool
	}{
		{"news", "news", true}, {"news", "new", false}, {"news", "news.a", false}, {"news.a", "news", false},
		{"*", "news", true}, {"*", "news.a", false}, {">", "news", true}, {">", "news.a.b", true},
		{"news.*", "news.a", true}, {"news.*", "news", false}, {"news.*", "news.a.b", false},
		{"news.>", "news.a.b", true}, {"news.>", "news", false}, {"*.b.*", "a.b.c", true}, {"*.b.*", "a.c.c", false},
		{"*.>", "a", false}, {"*.>", "a.b", true},
	} {
		pattern, err := event.ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := pattern.Match(topic(t, c.topic)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.topic, got)
		}
	}
	for _, s := range []string{"", "a.>.b", ">.a", "a,b", "a.*,b.*", "a*", "a.b>", "**", "a..*", segments(32) + ".>"} {
		if _, err := event.ParsePattern(s); err == nil {
			t.Errorf("ParsePattern(%q) has no error", s)
		}
	}
	if (event.Pattern{}).Match(topic(t, "a")) || event.All.Match(event.Topic{}) {
		t.Error("a zero value matches")
	}
}

func TestPatternsCover(t *testing.T) {
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{">", ">", true}, {">", "a.*", true}, {"*", ">", false}, {"a.>", "a.b.>", true}, {"a.>", "a.*", true},
		{"a.>", "a", false}, {"a.*", "a.>", false}, {"a.*", "a.b", true}, {"a.b", "a.*", false}, {"*.b", "a.*", false}, {"*.*", "a.*", true},
	} {
		wide, errWide := event.ParsePattern(c.wide)
		narrow, errNarrow := event.ParsePattern(c.narrow)
		if errWide != nil || errNarrow != nil || wide.Covers(narrow) != c.want {
			t.Errorf("%q covers %q: %v", c.wide, c.narrow, !c.want)
		}
	}
}

func TestIDs(t *testing.T) {
	id := event.NewID(1795357705123, 1842)
	back, err := event.ParseID(id.String())
	if err != nil || back != id {
		t.Errorf("ParseID(%q) = %v, %v", id, back, err)
	}
	if longest := event.NewID(1<<64-1, 1<<64-1).String(); len(longest) >= 40 {
		t.Errorf("%q has %d bytes", longest, len(longest))
	}
	for _, s := range []string{"", "1", "-", "-1", "1-", "0-1", "K-1", "01-1", "1-01", "1-+1", "+1-1", "1-1-1", "1_0-1", "1-18446744073709551616", " 1-1", "1-1\n"} {
		if id, err := event.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = %v", s, id)
		}
	}
}

func TestPublishersCannotSendReservedEvents(t *testing.T) {
	news := topic(t, "news")
	for _, c := range []struct {
		topic event.Topic
		typ   event.Type
		data  string
		field string
	}{
		{event.Topic{}, event.Type{}, "", "topic"},
		{event.TopicCounter, event.Type{}, "", "topic"},
		{event.TopicStats, event.Type{}, "", "topic"},
		{news, event.TypeGap, "", "type"},
		{news, event.TypeDrain, "", "type"},
		{news, event.TypeBusy, "", "type"},
		{news, event.TypeAuthExpired, "", "type"},
		{topic(t, "gap"), event.TypeOf(topic(t, "gap")), "", "type"},
		{news, event.Type{}, "\xff", "data"},
	} {
		_, err := event.New(c.topic, c.typ, c.data)
		var invalid *event.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != c.field {
			t.Errorf("New(%q, %q, %q): error %v, want one of the %s", c.topic, c.typ, c.data, err, c.field)
		}
	}
}

func TestFrames(t *testing.T) {
	id := event.NewID(36, 7)
	for _, c := range []struct{ typ, data, want string }{
		{"news", "hello", "event: news\ndata: hello\nid: 10-7\n\n"},
		{"message", "", "data: \nid: 10-7\n\n"},
		{"message", " lead", "data:  lead\nid: 10-7\n\n"},
		{"message", "a\r\nb\rc\nd\n", "data: a\ndata: b\ndata: c\ndata: d\ndata: \nid: 10-7\n\n"},
	} {
		if got := string(event.Frames.AppendEvent(nil, stored(t, "t", c.typ, c.data, id))); got != c.want {
			t.Errorf("frame of %q %q:\n%q, want\n%q", c.typ, c.data, got, c.want)
		}
	}
	if got := string(event.Frames.AppendCursor(nil, id, 1500*time.Millisecond)); got != "retry: 1500\nid: 10-7\n\n" {
		t.Errorf("opening: %q", got)
	}
	// Nothing that sets a time is without an event, and a refusal never moves the cursor.
	for e, want := range map[event.Event]string{
		event.Drain(1500 * time.Millisecond): "retry: 1500\nevent: drain\ndata: {}\n\n",
		event.Busy("full", 7*time.Second):    "retry: 7000\nevent: busy\ndata: {\"reason\":\"full\",\"retry_ms\":7000}\n\n",
	} {
		if got := string(event.Frames.AppendEvent(nil, e)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := string(event.Lines.AppendEvent(nil, event.Busy("full", time.Second))), `{"type":"busy","data":"{\"reason\":\"full\",\"retry_ms\":1000}","retry":1000}`+"\n"; got != want {
		t.Errorf("a line: %s, want %s", got, want)
	}
	if got := string(event.Frames.AppendCursor(nil, event.ID{}, 0)); got != ":\n\n" {
		t.Errorf("heartbeat without a cursor: %q", got)
	}
}

func TestLines(t *testing.T) {
	e := stored(t, "news", "message", "<a>\n", event.NewID(36, 7))
	want := `{"id":"10-7","topic":"news","type":"message","time":"2026-11-22T12:00:00Z","data":"<a>\n"}` + "\n"
	if got := string(event.Lines.AppendEvent(nil, e)); got != want {
		t.Errorf("line %s, want %s", got, want)
	}
	want = `{"topic":"counter","type":"message","data":"3"}` + "\n"
	if got := string(event.Lines.AppendEvent(nil, event.Counter(3))); got != want {
		t.Errorf("line %s, want %s", got, want)
	}
	if got := string(event.Lines.AppendCursor(nil, event.NewID(36, 7), time.Second)); got != `{"id":"10-7","retry":1000}`+"\n" {
		t.Errorf("cursor line %s", got)
	}
}

// A line is what encoding/json makes of the event, and no format takes more than it says.
func FuzzEncode(f *testing.F) {
	for _, data := range []string{"", "<a>\n", "\r\n\r\n", "\x00\x01\b\f\t\x1f\x7f\"\\", "é\u2027\u2028\u2029\u202a\xe2", strings.Repeat("\n", 1000), strings.Repeat("\x01", 1000)} {
		f.Add("a\"b", "t\\", data)
	}
	f.Fuzz(func(t *testing.T, topicName, typeName, data string) {
		topic, err := event.ParseTopic(topicName)
		if err != nil {
			return
		}
		typ, err := event.ParseType(typeName)
		if err != nil {
			return
		}
		e, err := event.New(topic, typ, data)
		if err != nil {
			return
		}
		e = e.Stored(event.NewID(math.MaxUint64, math.MaxUint64), time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC))
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(struct {
			ID    event.ID  `json:"id"`
			Topic string    `json:"topic"`
			Type  string    `json:"type"`
			Time  time.Time `json:"time"`
			Data  string    `json:"data"`
		}{e.ID(), topicName, typ.String(), e.Time(), data}); err != nil {
			t.Fatal(err)
		}
		if got := event.Lines.AppendEvent(nil, e); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("line %q, want %q", got, want.Bytes())
		}
		for format := range event.Formats {
			encoded := format.Encode(e)
			if got, most := len(encoded.Chunk), format.Size(e); got > most || cap(encoded.Chunk) > most {
				t.Errorf("format %d takes %d of %d bytes, want at most %d", format, got, cap(encoded.Chunk), most)
			}
		}
	})
}

func TestGapNamesTheCursorThatFollows(t *testing.T) {
	g := event.Gap{Requested: strings.Repeat("x", 500), First: event.NewID(36, 5), Resumed: event.NewID(36, 4), Reason: event.GapExpired}
	e := g.Event()
	want := `{"requested":"` + strings.Repeat("x", 128) + `","first":"10-5","resumed":"10-4","reason":"expired"}`
	if e.ID() != g.Resumed || e.Data() != want || e.Type() != event.TypeGap {
		t.Errorf("gap: %v %q %s", e.ID(), e.Type(), e.Data())
	}
}

// An ID that parses has the same text again, and a cross-origin client may send it without a preflight.
func FuzzID(f *testing.F) {
	for _, s := range []string{"10-7", "mwrzeraj-1842", "3w5e11264sgsf-18446744073709551615", "3w5e11264sgsg-1", "1-18446744073709551616", "01-1", "1--1", "-", "0-1", "A-1", "1-1\n"} {
		f.Add(s, uint64(36), uint64(7))
	}
	f.Fuzz(func(t *testing.T, s string, epoch, seq uint64) {
		if id, err := event.ParseID(s); err == nil {
			if id.String() != s || id.IsZero() || event.NewID(id.Epoch(), id.Seq()) != id {
				t.Errorf("%q reads as %v", s, id)
			}
			if strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" || strings.Count(s, "-") != 1 || len(s) >= 40 {
				t.Errorf("%q is an ID", s)
			}
		} else if !id.IsZero() {
			t.Errorf("%q is refused but reads as %v", s, id)
		}
		id := event.NewID(max(epoch, 1), seq)
		if back, err := event.ParseID(id.String()); err != nil || back != id {
			t.Errorf("%v reads as %v, %v", id, back, err)
		}
	})
}

// An accepted name is one printable line and stays unchanged. A topic is also a pattern and a type.
func FuzzName(f *testing.F) {
	for _, s := range []string{"news", "orders.*.created", "orders.>", ">", "größe.日本", "message", "counter", "gap", " a", "a b", "a..b", "a.", "a\u202eb", "a\u009b31m", "a\x7f", "a\xff", "\ufeffa", "a\u0301", strings.Repeat("ü", 101), segments(32), segments(33)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		topic, errTopic := event.ParseTopic(s)
		pattern, errPattern := event.ParsePattern(s)
		typ, errType := event.ParseType(s)
		for _, name := range []struct {
			field, text string
			err         error
		}{{"topic", topic.String(), errTopic}, {"topic", pattern.String(), errPattern}, {"type", typ.String(), errType}} {
			if name.err == nil {
				if name.text != s || s == "" || len(s) > 200 || name.field == "topic" && strings.Count(s, ".") >= 32 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q is accepted as the %s %q", s, name.field, name.text)
				}
				continue
			}
			var invalid *event.InvalidError
			if !errors.As(name.err, &invalid) || invalid.Field != name.field || len(name.err.Error()) > 200 || strings.ContainsFunc(name.err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q: error %q", s, name.err)
			}
		}
		if errTopic == nil && (errPattern != nil || errType != nil || event.TypeOf(topic) != typ || strings.ContainsAny(s, " */>")) {
			t.Errorf("%q is a topic; as a pattern %v, as a type %v", s, errPattern, errType)
		}
		if errPattern == nil && (!pattern.Covers(pattern) || !event.All.Covers(pattern)) {
			t.Errorf("the pattern %q does not cover itself, or is not covered by all", s)
		}
	})
}

func topic(t *testing.T, name string) event.Topic {
	t.Helper()
	topic, err := event.ParseTopic(name)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func stored(t *testing.T, topicName, typeName, data string, id event.ID) event.Event {
	t.Helper()
	typ, err := event.ParseType(typeName)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.New(topic(t, topicName), typ, data)
	if err != nil {
		t.Fatal(err)
	}
	return e.Stored(id, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
}
