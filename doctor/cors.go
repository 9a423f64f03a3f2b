package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// cors checks whether pages of the origin may read the stream: as an EventSource does, with credentials, and by fetch with headers,
// which needs a preflight.
func (x *examination) cors(ctx context.Context) []Finding {
	origin := x.cfg.Origin
	if origin == "" {
		return []Finding{{"cors", Skip, "no --origin: name the origin of the page that reads the stream, such as https://app.example.org", nil}}
	}
	if origin == x.url.Scheme+"://"+x.url.Host {
		return []Finding{{"cors", OK, "pages of " + origin + " have the stream's own origin, and need no CORS", nil}}
	}
	a := x.ask(ctx, http.MethodGet, x.url, http.Header{"Accept": {eventStream}, "Origin": {origin}})
	if a.err != nil {
		return []Finding{{"cors", Skip, "no answer: " + reason(a.err), nil}}
	}
	const server = "; allow it in the server (--cors-origin of Freshet)"
	err := CheckOrigin(a.Header, origin, false)
	switch {
	case errors.Is(err, ErrTwice):
		return []Finding{{"cors", Fail, err.Error() + ": the server and a proxy both set it", x.advise(twice)}}
	case a.StatusCode != http.StatusOK:
		return []Finding{{"cors", Fail, fmt.Sprintf("pages of %s get status %d%s", origin, a.StatusCode, server), nil}}
	case err != nil:
		return []Finding{{"cors", Fail, fmt.Sprintf("pages of %s cannot read the stream: %v%s, and check that no proxy removes it", origin, err, server), nil}}
	}
	seen := "pages of " + origin + " can read the stream"
	var findings []Finding
	if CheckOrigin(a.Header, origin, true) == nil {
		seen += ", also with cookies"
	} else {
		seen += ", but not with cookies (withCredentials)"
	}
	if vary := strings.ToLower(strings.Join(a.Header.Values("Vary"), ",")); a.Header.Get("Access-Control-Allow-Origin") != "*" && !strings.Contains(vary, "origin") {
		findings = append(findings, Finding{"cors", Warn, "the response depends on the origin, but has no Vary: Origin: a cache can give it to other pages; let the server send it", nil})
	}
	findings = append(findings, Finding{"cors", OK, seen, nil})
	return append(findings, x.preflight(ctx, origin))
}

// preflight is the request that a browser sends before a fetch with headers.
func (x *examination) preflight(ctx context.Context, origin string) Finding {
	wanted := []string{"authorization", "last-event-id"}
	a := x.ask(ctx, http.MethodOptions, x.url, PreflightHeader(origin, wanted...))
	const affects = "EventSource works without it, but fetch with a token or last event ID does not; let OPTIONS pass to the server"
	if a.err != nil {
		return Finding{"preflight", Warn, "no answer: " + reason(a.err) + "; " + affects, nil}
	}
	if err := CheckPreflight(a.Response, origin, wanted...); err != nil {
		return Finding{"preflight", Warn, err.Error() + "; " + affects, nil}
	}
	return Finding{"preflight", OK, "fetch may send the headers Authorization and Last-Event-ID", nil}
}
