package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
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
	allowed := a.Header.Values("Access-Control-Allow-Origin")
	switch {
	case len(allowed) > 1 || len(allowed) == 1 && strings.Contains(allowed[0], ","):
		return []Finding{{"cors", Fail, fmt.Sprintf("Access-Control-Allow-Origin has more than one value (%s), and browsers refuse that: the server and a proxy both set it", strings.Join(allowed, ", ")), x.advise(twice)}}
	case a.StatusCode != http.StatusOK:
		return []Finding{{"cors", Fail, fmt.Sprintf("pages of %s get status %d%s", origin, a.StatusCode, server), nil}}
	case len(allowed) == 0:
		return []Finding{{"cors", Fail, fmt.Sprintf("pages of %s cannot read the stream: there is no Access-Control-Allow-Origin%s, and check that no proxy removes it", origin, server), nil}}
	case allowed[0] != "*" && allowed[0] != origin:
		return []Finding{{"cors", Fail, fmt.Sprintf("pages of %s cannot read the stream: Access-Control-Allow-Origin is %s%s", origin, allowed[0], server), nil}}
	}
	seen := "pages of " + origin + " can read the stream"
	var findings []Finding
	if allowed[0] == origin && a.Header.Get("Access-Control-Allow-Credentials") == "true" {
		seen += ", also with cookies"
	} else {
		seen += ", but not with cookies (withCredentials)"
	}
	if vary := strings.ToLower(strings.Join(a.Header.Values("Vary"), ",")); allowed[0] != "*" && !strings.Contains(vary, "origin") {
		findings = append(findings, Finding{"cors", Warn, "the response depends on the origin, but has no Vary: Origin: a cache can give it to other pages; let the server send it", nil})
	}
	findings = append(findings, Finding{"cors", OK, seen, nil})
	return append(findings, x.preflight(ctx, origin))
}

// preflight is the request that a browser sends before a fetch with headers.
func (x *examination) preflight(ctx context.Context, origin string) Finding {
	wanted := []string{"authorization", "last-event-id"}
	a := x.ask(ctx, http.MethodOptions, x.url, http.Header{
		"Origin": {origin}, "Access-Control-Request-Method": {http.MethodGet}, "Access-Control-Request-Headers": {strings.Join(wanted, ",")},
	})
	const affects = "EventSource works without it, but fetch with a token or last event ID does not; let OPTIONS pass to the server"
	if a.err != nil {
		return Finding{"preflight", Warn, "no answer: " + reason(a.err) + "; " + affects, nil}
	}
	allowed := a.Header.Get("Access-Control-Allow-Origin")
	names := strings.Split(strings.ToLower(strings.ReplaceAll(strings.Join(a.Header.Values("Access-Control-Allow-Headers"), ","), " ", "")), ",")
	missing := slices.DeleteFunc(wanted, func(name string) bool {
		return slices.Contains(names, name) || name != "authorization" && slices.Contains(names, "*")
	})
	switch {
	case a.StatusCode/100 != 2 || allowed != "*" && allowed != origin:
		return Finding{"preflight", Warn, fmt.Sprintf("a preflight gets status %d and Access-Control-Allow-Origin %q; %s", a.StatusCode, allowed, affects), nil}
	case len(missing) > 0:
		return Finding{"preflight", Warn, fmt.Sprintf("a preflight does not allow the header %s; %s", strings.Join(missing, " and "), affects), nil}
	}
	return Finding{"preflight", OK, "fetch may send the headers Authorization and Last-Event-ID", nil}
}
