package doctor

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// ErrTwice is the error of [CheckOrigin] if the server and a proxy both allow an origin: browsers refuse that.
var ErrTwice = errors.New("the header Access-Control-Allow-Origin has more than one value, and browsers refuse that")

// CheckType says why a browser's EventSource does not accept the response as an event stream, or nil (WHATWG HTML, 9.2.3).
func CheckType(h http.Header) error {
	if kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")); kind != eventStream {
		return fmt.Errorf("the header Content-Type is %q, not %s: a browser's EventSource stops for good", h.Get("Content-Type"), eventStream)
	}
	return nil
}

// CheckLength says why a response with these headers is no stream, or nil.
func CheckLength(r *http.Response) error {
	if r.ContentLength >= 0 {
		return fmt.Errorf("the header Content-Length is %d: the response was complete when it was sent, and a stream has no length", r.ContentLength)
	}
	return nil
}

// CheckOrigin says why a page of the origin cannot read the response, or nil. With credentials, the page is an EventSource with
// withCredentials.
func CheckOrigin(h http.Header, origin string, credentials bool) error {
	allowed := h.Values("Access-Control-Allow-Origin")
	switch {
	case len(allowed) > 1 || len(allowed) == 1 && strings.Contains(allowed[0], ","):
		return fmt.Errorf("%w (%s)", ErrTwice, strings.Join(allowed, ", "))
	case len(allowed) == 0:
		return errors.New("there is no Access-Control-Allow-Origin")
	case allowed[0] != origin && (allowed[0] != "*" || credentials):
		return fmt.Errorf("the header Access-Control-Allow-Origin is %s", allowed[0])
	case credentials && h.Get("Access-Control-Allow-Credentials") != "true":
		return errors.New("there is no Access-Control-Allow-Credentials: true")
	}
	return nil
}

// CheckPreflight says why the response to a preflight does not let pages of the origin send the headers, or nil (Fetch, CORS-preflight fetch).
// The headers are in lower case.
func CheckPreflight(r *http.Response, origin string, headers ...string) error {
	allowed := r.Header.Get("Access-Control-Allow-Origin")
	if r.StatusCode/100 != 2 || allowed != "*" && allowed != origin {
		return fmt.Errorf("a preflight gets status %d and Access-Control-Allow-Origin %q", r.StatusCode, allowed)
	}
	names := strings.Split(strings.ToLower(strings.ReplaceAll(strings.Join(r.Header.Values("Access-Control-Allow-Headers"), ","), " ", "")), ",")
	missing := slices.DeleteFunc(slices.Clone(headers), func(name string) bool {
		return slices.Contains(names, name) || name != "authorization" && slices.Contains(names, "*")
	})
	if len(missing) > 0 {
		return fmt.Errorf("a preflight does not allow the header %s", strings.Join(missing, " and "))
	}
	return nil
}

// PreflightHeader has the headers of the preflight that a browser sends before a fetch with these headers.
func PreflightHeader(origin string, headers ...string) http.Header {
	return http.Header{"Origin": {origin}, "Access-Control-Request-Method": {http.MethodGet}, "Access-Control-Request-Headers": {strings.Join(headers, ",")}}
}
