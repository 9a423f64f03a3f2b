package ssetest

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"freshet/event"
)

// Conformance says what an endpoint offers. Everything that it does not claim is skipped.
type Conformance struct {
	// Header is sent with each request for the stream: credentials, for example.
	Header http.Header
	// Client sends all requests. Nil: http.DefaultClient.
	Client *http.Client
	// Publish makes the endpoint send an event with this data to all readers. Nil: checks that need an event are skipped.
	Publish func(ctx context.Context, data string) error
	// Type is the type of these events. Empty: message.
	Type string
	// Unwrap returns the published data of an event, and whether it is a published one. Nil: it is the event's data. Set it for an
	// endpoint that sends data in an envelope of its own.
	Unwrap func(event.Frame) (data string, ok bool)
	// Retry claims that a stream sets the reconnection time.
	Retry bool
	// Resumes claims that events have IDs, and that a stream continues after the header Last-Event-ID.
	Resumes bool
	// Heartbeat claims that a quiet stream sends something this often. 0: it may be silent.
	Heartbeat time.Duration
	// Origin is the origin of pages elsewhere that may read the stream. Empty: none may.
	Origin string
	// Credentials claims that these pages may read it with cookies too.
	Credentials bool
	// Preflight claims that these pages may fetch it with the headers Authorization and Last-Event-ID.
	Preflight bool
	// Busy is the URL of a stream that is refused for a while, because the server is full or stops. Empty: none is.
	Busy string
	// Readers returns how many streams of the endpoint are open. Nil: whether it notices that readers have gone is not checked.
	Readers func(ctx context.Context) (int, error)
	// Patience is how long the endpoint may take for anything. 0: 5 s. A wait ends as soon as its answer is there.
	Patience time.Duration
}

// Outcome says how a check went.
type Outcome string

// The outcomes.
const (
	Pass Outcome = "pass"
	Fail Outcome = "fail"
	Skip Outcome = "skip" // the endpoint does not claim it
)

// Result is the result of one check.
type Result struct {
	Check   string // such as "line-ends"
	Section string // of the standard: WHATWG HTML, or Fetch
	Outcome Outcome
	Detail  string // what was seen, or why the check was skipped; empty if it passed
}

// check is one demand on an endpoint.
type check struct {
	name, section string
	run           func(context.Context, *endpoint) error
}

// checks are in the order in which they run. If the first fails, there is no stream for the others.
func checks() []check {
	return []check{
		{"open", "HTML 9.2.3", checkOpen},
		{"headers", "HTML 9.2.6", checkHeaders},
		{"unknown-id", "HTML 9.2.3", checkUnknownID},
		{"framing", "HTML 9.2.6", checkFraming},
		{"line-ends", "HTML 9.2.6", checkLineEnds},
		{"leading-space", "HTML 9.2.6", checkLeadingSpace},
		{"forged-fields", "HTML 9.2.6", checkForgedFields},
		{"long-data", "HTML 9.2.6", checkLongData},
		{"order", "HTML 9.2.6", checkOrder},
		{"retry", "HTML 9.2.6", checkRetry},
		{"ids", "HTML 9.2.4", checkIDs},
		{"resume", "HTML 9.2.4", checkResume},
		{"resume-up-to-date", "HTML 9.2.4", checkResumeUpToDate},
		{"resume-while-publishing", "HTML 9.2.4", checkResumeWhilePublishing},
		{"heartbeat", "HTML 9.2.7", checkHeartbeat},
		{"cors", "HTML 9.2.2", checkCORS},
		{"preflight", "Fetch", checkPreflight},
		{"busy", "HTML 9.2.3", checkBusy},
		{"disconnect", "HTML 9.2.2", checkDisconnect},
		{"empty-data", "HTML 9.2.6", checkEmptyData}, // last, because an event without data makes some servers end every stream
	}
}

// skipped is the error of a check that does not apply, and the reason.
type skipped string

func (s skipped) Error() string { return string(s) }

// Conform holds the endpoint to the standard of event streams. Each check is a subtest. Check has the same results as data.
//
// The URL is of a running server: for a handler, use httptest.NewServer. Later versions may have more checks.
func Conform(t *testing.T, url string, cfg Conformance) {
	t.Helper()
	e := newEndpoint(url, cfg)
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			switch r := e.check(t.Context(), c); r.Outcome {
			case Fail:
				t.Errorf("%s: %s", r.Section, r.Detail)
			case Skip:
				t.Skip(r.Detail)
			}
		})
	}
}

// Check holds the endpoint to the standard of event streams, and returns a result for each check, in a fixed order. If ctx ends, checks
// fail.
func Check(ctx context.Context, url string, cfg Conformance) []Result {
	e := newEndpoint(url, cfg)
	var results []Result
	for _, c := range checks() {
		results = append(results, e.check(ctx, c))
	}
	return results
}

func newEndpoint(url string, cfg Conformance) *endpoint {
	cfg.Type = cmp.Or(cfg.Type, "message")
	cfg.Patience = cmp.Or(cfg.Patience, 5*time.Second)
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	if cfg.Unwrap == nil {
		cfg.Unwrap = func(f event.Frame) (string, bool) { return f.Data, f.Type == cfg.Type }
	}
	return &endpoint{Conformance: cfg, url: url}
}

func (e *endpoint) check(ctx context.Context, c check) Result {
	if e.shut {
		return Result{c.name, c.section, Skip, "the stream does not open"}
	}
	err := c.run(ctx, e)
	reason, isSkipped := errors.AsType[skipped](err)
	switch {
	case isSkipped:
		return Result{c.name, c.section, Skip, string(reason)}
	case err != nil:
		e.shut = c.name == "open"
		return Result{c.name, c.section, Fail, err.Error()}
	}
	return Result{Check: c.name, Section: c.section, Outcome: Pass}
}
