package handlers_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/ssetest"

	gocmp "github.com/google/go-cmp/cmp"
)

// fuzzedBody is the most that newServer's handlers take.
const fuzzedBody = 1000

// Whatever is posted as JSON is refused, or stored as encoding/json reads it.
func FuzzPublishJSON(f *testing.F) {
	for _, body := range []string{
		`{"topic":"a","data":"text"}`, `{"topic":"größe.日","type":"b c","data":{"n": 1.50, "s": [ ], "<": "\u003c\u2028"}}`,
		`{"topic":"a","type":null,"data":null}`, `{"topic":"a","type":"message","data":"\ud800\u0000\r\n"}`, `{"TOPIC":"a","topic":"b","Data":1,"data":-0e1}`,
		`{"topic":"a"}`, `{"topic":"a","data":1} 2`, `{"topic":"a","data":1,"more":1}`, `{"topic":"a\u202e","data":1}`, `{"topic":"gap","data":1}`,
		`{"topic":"counter","data":1}`, `[]`, `null`, ``, "\ufeff{}", `{"topic":"a","data":"` + "\xff" + `"}`, strings.Repeat(`{"data":`, 120),
		`{"topic":"a","data":"` + strings.Repeat("x", fuzzedBody) + `"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := newServer(t, nil)
		w := s.do("POST", "/event", body)
		if (w.Code == http.StatusRequestEntityTooLarge) != (len(body) > fuzzedBody) {
			t.Errorf("a body of %d bytes: %d", len(body), w.Code)
		}
		stored := eventsOf(t, s.log)
		if w.Code != http.StatusCreated {
			wantRefused(t, w)
			if len(stored) != 0 {
				t.Errorf("refused, and stored as %q", stored[0].Data())
			}
			return
		}
		if len(stored) != 1 {
			t.Fatalf("%d events are stored", len(stored))
		}
		e := stored[0]
		if answer := `{"id":"` + e.ID().String() + `","topic":` + quoted(t, e.Topic().String()) + "}\n"; w.Body.String() != answer {
			t.Errorf("answered %s, want %s", w.Body, answer)
		}
		var want struct {
			Topic, Type string
			Data        any
		}
		decoder := json.NewDecoder(strings.NewReader(body))
		decoder.UseNumber()
		must(t, decoder.Decode(&want))
		if !utf8.ValidString(body) || !json.Valid([]byte(body)) || e.Topic().String() != want.Topic || e.Type().String() != cmp.Or(want.Type, want.Topic) {
			t.Errorf("%q is stored with topic %q and type %q", body, e.Topic(), e.Type())
		}
		if text, ok := want.Data.(string); ok {
			if e.Data() != text {
				t.Errorf("%q is stored as %q", body, e.Data())
			}
			return
		}
		var have any
		decoder = json.NewDecoder(strings.NewReader(e.Data()))
		decoder.UseNumber()
		must(t, decoder.Decode(&have))
		var compact bytes.Buffer
		must(t, json.Compact(&compact, []byte(e.Data())))
		if diff := gocmp.Diff(want.Data, have); diff != "" || compact.String() != e.Data() {
			t.Errorf("%q is stored as %q:\n%s", body, e.Data(), diff)
		}
	})
}

// Each line of NDJSON is answered, in order, with what it would be answered alone, and stored as it would be.
func FuzzPublishLines(f *testing.F) {
	valid := `{"topic":"a","data":"1"}`
	for _, body := range []string{
		valid + "\n" + `{"topic":"b","data":{"n": 2}}` + "\r\n" + valid + "\n", valid + "\n\nnonsense\n" + valid, "", "\n", "\r\r\n\n" + valid + "\r\r\n",
		valid + valid, valid + "\n{\"topic\":\"a\",\n\"data\":1}", "\xff\n" + valid, `{"topic":"stats","data":1}` + "\n" + valid, strings.Repeat("\n", fuzzedBody-1) + "x",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		many, single := newServer(t, nil), newServer(t, nil)
		w := many.do("POST", "/event", body, "Content-Type", "application/x-ndjson")
		if len(body) > fuzzedBody {
			wantRefused(t, w)
			return
		}
		answers := json.NewDecoder(w.Body)
		for line := range strings.SplitSeq(strings.TrimRight(body, "\r\n"), "\n") {
			var alone, together any
			must(t, json.Unmarshal(single.do("POST", "/event", line).Body.Bytes(), &alone))
			must(t, answers.Decode(&together))
			if diff := gocmp.Diff(alone, together); diff != "" || w.Code != http.StatusOK {
				t.Errorf("%q in %q: status %d, answers (-alone +together):\n%s", line, body, w.Code, diff)
			}
		}
		if answers.More() {
			t.Errorf("%q: more answers than lines", body)
		}
		if diff := gocmp.Diff(lines(eventsOf(t, single.log)), lines(eventsOf(t, many.log))); diff != "" {
			t.Errorf("%q: stored (-alone +together):\n%s", body, diff)
		}
	})
}

// Whatever a reader asks for, the stream opens or says what is wrong, and the history says the same.
func FuzzPlace(f *testing.F) {
	for _, query := range []string{
		"", "topic=a&topic=*.b&since=all", "since=-3&limit=2", "since=last&topic=>", "since=10m&limit=0", "since=2562047h47m16.854775807s", "since=9999-12-31T23:59:59Z",
		"since=10-2", "last_event_id=10-99", "lastEventId=zz-1&cursor=zz-1", "cursor=%00%ff%e2%80%ae&last_event_id=%0aid:%0d1", "topic=a&topic=b&topic=c&topic=d&topic=e&topic=f",
		"topic=a%0ab", "topic=counter&topic=stats", "topic=", "since=%zz&topic=a;b", "limit=99999999999999999999", "&&==&;", "since=-100000", "cursor=10-18446744073709551615", "last_event_id=10-18446744073709551615",
	} {
		f.Add(query, "")
	}
	f.Add("", "10-1")
	f.Add("since=all", "\x00\xff\u202e"+strings.Repeat("é", 100))
	f.Fuzz(func(t *testing.T, query, lastEventID string) {
		s := newServer(t, nil)
		for i, topic := range []string{"a", "a.b", "c", "a", "c"} {
			s.log.Publish(t, topic, strconv.Itoa(i))
		}
		<-s.hub.CaughtUp()
		ids := []string{"last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"}
		request := func(path string, without ...string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.URL.RawQuery = query
			if values, err := url.ParseQuery(query); err == nil {
				for _, name := range ids { // a stream refuses two, and the history gets none
					values[name] = values[name][:min(1, len(values[name]))]
				}
				for _, name := range without {
					values.Del(name)
				}
				r.URL.RawQuery = values.Encode()
			}
			r.Header.Set("Last-Event-ID", lastEventID)
			return r
		}
		stream := ssetest.Open(t, s, request("/event", "limit", "cursor"))
		history := httptest.NewRecorder()
		s.ServeHTTP(history, request("/history", ids...))

		if stream.Status() != http.StatusOK {
			refused := &httptest.ResponseRecorder{Code: stream.Status(), Body: bytes.NewBufferString(stream.Body())}
			if code := wantRefused(t, refused); code != wantRefused(t, history) {
				t.Errorf("the stream is refused with %s, the history with %s", code, history.Body)
			}
			return
		}
		opening := stream.Next()
		last := request("/").URL.Query().Get("since") == "last" // no ID before the newest of each topic is sent
		if id, err := event.ParseID(opening.ID); (err != nil || id.Epoch() != eventlogtest.Epoch) && !last || opening.HasData || !opening.HasRetry {
			t.Errorf("opening %+v", opening)
		}
		stream.Close() // returns once the handler has
		if history.Code != http.StatusOK {
			if code := wantRefused(t, history); code != "invalid_limit" && code != "malformed" {
				t.Errorf("the stream opens, the history is refused with %s", history.Body)
			}
			return
		}
		var page struct {
			Events []struct{ ID, Type string }
			Cursor string
		}
		must(t, json.Unmarshal(history.Body.Bytes(), &page))
		cursor, err := event.ParseID(page.Cursor)
		if err != nil || len(page.Events) > 6 { // five events and a gap
			t.Errorf("page %s", history.Body)
		}
		if values, err := url.ParseQuery(query); err == nil && values.Get("limit") != "" && strconv.Itoa(len(page.Events)) > values.Get("limit") && len(values.Get("limit")) == 1 {
			t.Errorf("%d events on a page of %s", len(page.Events), values.Get("limit"))
		}
		for _, e := range page.Events {
			if id, err := event.ParseID(e.ID); err != nil || id.Seq() > cursor.Seq() {
				t.Errorf("event %s is beyond the cursor %v", e.ID, cursor)
			}
		}
	})
}

// wantRefused checks the form of a refusal, which blames the request, and returns its code.
func wantRefused(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Code == "" || body.Error.Message == "" || w.Code < 400 || w.Code >= 500 {
		t.Errorf("refused with %d %s", w.Code, w.Body)
	}
	return body.Error.Code
}

func eventsOf(t *testing.T, log *eventlogtest.Memory) (events []event.Event) {
	t.Helper()
	_, err := log.Read(t.Context(), 0, event.Patterns{event.All}, 1<<30, func(e event.Event) error {
		events = append(events, e)
		return nil
	})
	must(t, err)
	return events
}

// lines is all of the events but their times.
func lines(events []event.Event) (lines []string) {
	for _, e := range events {
		lines = append(lines, e.ID().String()+" "+e.Topic().String()+" "+e.Type().String()+" "+e.Data())
	}
	return lines
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	must(t, encoder.Encode(text))
	return strings.TrimSpace(quoted.String())
}
