package ssetest_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/ssetest"
)

// claims is all that a board offers.
func claims(b *board, server *httptest.Server) ssetest.Conformance {
	return ssetest.Conformance{
		Publish: b.publish, Type: "news", Retry: true, Resumes: true, Heartbeat: 20 * time.Millisecond,
		Origin: "https://page.example", Credentials: true, Preflight: true, Busy: server.URL + "/busy", Readers: b.open,
	}
}

func TestAnEndpointConforms(t *testing.T) {
	b := newBoard("")
	server := httptest.NewServer(b)
	defer server.Close()
	ssetest.Conform(t, server.URL, claims(b, server))
	for _, r := range ssetest.Check(t.Context(), server.URL, claims(b, server)) {
		if r.Outcome != ssetest.Pass || r.Detail != "" {
			t.Errorf("%+v", r)
		}
	}
}

// Each defect is found, by a check that says what it is.
func TestDefectsAreFound(t *testing.T) {
	var checks sync.WaitGroup
	defer checks.Wait()
	for defect, want := range map[string]string{
		"status":             "open: status 503",
		"type":               "open: the header Content-Type is \"text/plain\"",
		"late headers":       "open: no headers arrived within",
		"charset":            "headers: the charset is latin1",
		"length":             "headers: the header Content-Length is 1000000",
		"unknown id":         "unknown-id: with the last event ID conform-unknown: status 400",
		"no type":            "framing: the event has the type \"message\", want \"news\"",
		"latin1":             "framing: data \"größer",
		"raw CR":             "line-ends: data \" one",
		"escaped CR":         "line-ends: data \" one",
		"no space":           "leading-space: data \" conform-",
		"raw":                "forged-fields: a line of the data that ends with \"\\n\"",
		"no empty data":      "empty-data: an event with empty data did not arrive",
		"short":              "long-data: data \"long data",
		"order":              "order: in the place of event",
		"no retry":           "retry: the first event came before a reconnection time",
		"no id":              "ids: an event has no ID",
		"one id":             "ids: two events have the ID \"1\"",
		"does not resume":    "resume: after the last event ID",
		"repeats":            "resume: after the last event ID",
		"repeats all":        "resume-up-to-date: a reader with the newest event ID got",
		"hole":               "resume: after the last event ID",
		"silent":             "heartbeat: a quiet stream was silent for",
		"no cors":            "cors: there is no Access-Control-Allow-Origin",
		"any origin":         "cors: the header Access-Control-Allow-Origin is *",
		"no credentials":     "cors: there is no Access-Control-Allow-Credentials: true",
		"two origins":        "cors: the header Access-Control-Allow-Origin has more than one value",
		"other origin":       "cors: the header Access-Control-Allow-Origin is https://other.example",
		"no preflight":       "preflight: a preflight does not allow the header authorization and last-event-id",
		"busy 503":           "busy: status 503",
		"busy without retry": "busy: the refusal has no reconnection time",
		"forgets":            "disconnect: a reader that has gone still counts: ",
	} {
		checks.Go(func() { // most of the time, they wait
			b := newBoard(defect)
			server := httptest.NewServer(b)
			defer server.Close()
			cfg := claims(b, server)
			cfg.Patience = time.Second
			var failed []string
			for _, r := range ssetest.Check(t.Context(), server.URL, cfg) {
				if r.Outcome == ssetest.Fail {
					failed = append(failed, r.Check+": "+r.Detail)
				}
			}
			if !slices.ContainsFunc(failed, func(f string) bool { return strings.HasPrefix(f, want) }) {
				t.Errorf("%s: want %q, failed: %q", defect, want, failed)
			}
		})
	}
}

// What is not claimed is skipped, with the reason.
func TestWhatIsNotClaimedIsSkipped(t *testing.T) {
	b := newBoard("empty refused")
	server := httptest.NewServer(b)
	defer server.Close()
	skipped := func(cfg ssetest.Conformance) (names string) {
		for _, r := range ssetest.Check(t.Context(), server.URL, cfg) {
			if r.Outcome == ssetest.Fail || r.Outcome == ssetest.Skip && r.Detail == "" {
				t.Errorf("%+v", r)
			}
			if r.Outcome == ssetest.Skip {
				names += " " + r.Check
			}
		}
		return names
	}
	const unclaimed = " retry ids resume resume-up-to-date resume-while-publishing heartbeat cors preflight busy disconnect"
	if got := skipped(ssetest.Conformance{Publish: b.publish, Type: "news"}); got != unclaimed+" empty-data" {
		t.Errorf("skipped:%s", got)
	}
	if got := skipped(ssetest.Conformance{}); got != " framing line-ends leading-space forged-fields long-data order"+unclaimed+" empty-data" {
		t.Errorf("skipped:%s", got)
	}
}

// A check that cannot be carried out has not passed.
func TestAPublisherThatFailsIsAFailure(t *testing.T) {
	b := newBoard("")
	server := httptest.NewServer(b)
	defer server.Close()
	failed := 0
	for _, r := range ssetest.Check(t.Context(), server.URL, ssetest.Conformance{
		Publish: func(context.Context, string) error { return errors.New("no network") },
		Readers: func(context.Context) (int, error) { return 0, errors.New("no network") },
	}) {
		if r.Outcome == ssetest.Fail && strings.HasSuffix(r.Detail, "failed: no network") {
			failed++
		}
	}
	if failed != 8 {
		t.Errorf("%d checks failed, want 8", failed)
	}
}
