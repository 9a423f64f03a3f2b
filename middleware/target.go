package middleware

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"
)

// publicParameters are the names of parameters, in the path or in the query, whose values are no credentials, each with a function
// that reports whether a value is one of the parameter.
//
// The access log shows nothing else of a request's target but the route: clients put credentials where they do not belong, under
// wrong names, without a name, or behind another path.
type publicParameters map[string]func(value string) bool

// shows reports whether the log may have the parameter's value.
func (public publicParameters) shows(name, value string) bool {
	valid := public[name]
	return valid != nil && valid(value) && !suspicious(value)
}

// path is the route's path, with the values of public parameters. A path without a route is logged as its number of segments.
func (public publicParameters) path(c *gin.Context) string {
	route := c.FullPath()
	if route == "" {
		return strings.Repeat("/…", min(strings.Count(c.Request.URL.Path, "/"), 20))
	}
	if !strings.Contains(route, ":") {
		return route
	}
	segments := strings.Split(route, "/")
	for i, segment := range segments {
		if name, isParameter := strings.CutPrefix(segment, ":"); isParameter && public.shows(name, c.Param(name)) {
			segments[i] = c.Param(name)
		}
	}
	return strings.Join(segments, "/")
}

// query has the public parameters as they were sent, the names of tickets, and the number of all others.
func (public publicParameters) query(query string) string {
	if query == "" {
		return ""
	}
	var shown []string
	hidden := 0
	// Go does not split at `;`, but the client that built the query may.
	for pair := range strings.SplitSeq(strings.ReplaceAll(query, ";", "&"), "&") {
		name, value, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(value)
		switch {
		case name == "ticket":
			shown = append(shown, "ticket=[redacted]")
		case public[name] == nil:
			hidden++
		case err != nil || !public.shows(name, decoded):
			shown = append(shown, name+"=[redacted]")
		default:
			shown = append(shown, name+"="+value)
		}
	}
	if hidden > 0 {
		shown = append(shown, fmt.Sprintf("[%d hidden]", hidden))
	}
	return strings.Join(shown, "&")
}

// suspicious reports whether the value of a public parameter contains more than that: another query, which was joined to it wrongly,
// or a header's value. No topic, time or number has these characters, except a few rare topics.
func suspicious(value string) bool { return strings.ContainsAny(value, " ?&=;") }

// jsonWebToken is a JSON web token, which a ticket is too, or its beginning. It always begins with the Base64 form of `{"`.
var jsonWebToken = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*`)

func hideTokens(text string) string {
	if !strings.Contains(text, "eyJ") {
		return text
	}
	return jsonWebToken.ReplaceAllLiteralString(text, "[redacted]")
}

// methodOf returns the request's method if it is a known one: a client can send any word.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return r.Method
	}
	return "[unknown]"
}
