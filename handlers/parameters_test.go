package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"freshet/eventlog/eventlogtest"
	"freshet/handlers"
	"freshet/ssetest"
	"freshet/ticket"
)

// A misspelt parameter must not select everything. The error names it, and what was meant.
func TestUnknownParameters(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *handlers.Config) {
		tickets, err := ticket.New(t.Context(), ticket.Config{Store: eventlogtest.NewStore()})
		must(t, err)
		cfg.Tickets = tickets
	})
	const unknown, malformed = "unknown_parameter: unknown parameter ", "malformed: the request is malformed: "
	const comma = "invalid_topic: topic: must not have a comma; for several topics, repeat the parameter: ?topic=a&topic=b"
	for request, want := range map[string]string{
		"GET /event?topics=news":            unknown + `"topics"; did you mean "topic"?`,
		"GET /event/news?Since=all":         unknown + `"Since"; did you mean "since"?`,
		"GET /event?topic=news&lasteventid": unknown + `"lasteventid"; did you mean "lastEventId"?`,
		"GET /event?access_token=x":         unknown + `"access_token"; this route has topic, since, merge, last_event_id, ticket`,
		"GET /event?limit=1":                unknown + `"limit"; this route has topic, since, merge, last_event_id, ticket`,
		"GET /event?=1":                     unknown + `""; this route has topic, since, merge, last_event_id, ticket`,
		"GET /history?limits=1":             unknown + `"limits"; did you mean "limit"?`,
		"HEAD /history?x":                   "",
		"GET /history?%1b%5B31m%00=1":       unknown + `"\x1b[31m\x00"; this route has topic, since, limit, cursor, ticket`,
		"GET /history?last_event_id=10-1":   unknown + `"last_event_id"; this route has topic, since, limit, cursor, ticket`,
		"POST /event?topic=news":            unknown + `"topic"; this route has type, ttl`,
		"POST /event/news?typ=a":            unknown + `"typ"; did you mean "type"?`,
		"POST /ticket?topic=news":           unknown + `"topic"; this route has no parameters`,
		"DELETE /ticket?subjects=u":         unknown + `"subjects"; did you mean "subject"?`,
		"DELETE /ticket/x?subject=u":        unknown + `"subject"; this route has no parameters`,
		"GET /connections?topic=news":       unknown + `"topic"; this route has limit, node`,
		"DELETE /connections/x?limit=1":     unknown + `"limit"; this route has node`,
		"GET /event?since=1m&since=2m":      malformed + `parameter "since" occurs 2 times; send it once`,
		"GET /history?cursor=10-1&cursor=":  malformed + `parameter "cursor" occurs 2 times; send it once`,
		"GET /event?topic=":                 malformed + `parameter "topic" is empty; give it a value, or leave it out`,
		"GET /event?topic=news&topic":       malformed + `parameter "topic" is empty; give it a value, or leave it out`,
		"GET /event?since=":                 malformed + `parameter "since" is empty; give it a value, or leave it out`,
		"POST /event/news?type=":            malformed + `parameter "type" is empty; give it a value, or leave it out`,
		"GET /event?topic=a,b":              comma,
		"GET /history?topic=a%2Cb":          comma,
		"GET /event/a,b":                    comma,
		"POST /event/a,b":                   "invalid_topic: topic: must not have a comma",
		"GET /event?topic=a;topic=b":        malformed + `the query is not readable; write % as %25, ; as %3B and & in a value as %26`,
		"GET /event?topic=%zz":              malformed + `the query is not readable; write % as %25, ; as %3B and & in a value as %26`,
	} {
		method, target, _ := strings.Cut(request, " ")
		payload := "x"
		if method == "GET" {
			payload = ""
		}
		w := s.do(method, target, payload, "Accept", "text/event-stream")
		var body struct {
			Error struct{ Code, Message string }
		}
		if want != "" { // a HEAD has no body
			must(t, json.Unmarshal(w.Body.Bytes(), &body))
			if got := body.Error.Code + ": " + body.Error.Message; got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", request, got, want)
			}
		}
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", request, w.Code)
		}
	}
	if w := s.do("GET", "/event?"+strings.Repeat("é", 5000), ""); w.Code != http.StatusBadRequest || w.Body.Len() > 300 {
		t.Errorf("a long name: %d, %d bytes", w.Code, w.Body.Len())
	}

	// What clients add by themselves, and empty IDs of clients without an event.
	for _, query := range []string{
		"datastar=%7B%22x%22%3A1%7D", "_=1700000000000", "lastEventId=&r=123", "evs_preamble=2056", "org.htmx.cache-buster=list", "last_event_id=", "",
	} {
		if stream := ssetest.Get(t, s, "/event/news?"+query); stream.Status() != http.StatusOK {
			t.Errorf("%s: %d", query, stream.Status())
		}
		if strings.Contains(strings.ToLower(query), "event") {
			continue // a page of history begins at its cursor
		}
		if w := s.do("GET", "/history?cursor=&"+query, ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	// A polyfill adds the ID where it reconnects to the URL that the page has made.
	for i := range 3 {
		s.log.Publish(t, "news", fmt.Sprint(i))
	}
	if f := ssetest.Get(t, s, "/event/news?last_event_id=10-1&lastEventId=10-2").NextEvent(); f.Data != "2" {
		t.Errorf("resumed with %+v", f)
	}
}

// Every parameter that the log may show is one of a route.
func TestPublicParametersAreKnown(t *testing.T) {
	t.Parallel()
	public := handlers.PublicParameters()
	if public["topic"] == nil || public["ticket"] != nil || public["datastar"] != nil || public["since"]("s3cret") || !public["since"]("10m") {
		t.Errorf("%v", public)
	}
}
