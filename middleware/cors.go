package middleware

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
)

// CORS answers preflights and decides which pages may do what. Pages of this server and of the listed origins may do everything. `*`
// allows every origin to read (GET, HEAD), to publish with a ticket, and nothing else. Other pages get 403. Cookies from another origin are not allowed. An
// origin is `*` or scheme://host[:port] as browsers send it: lower case, no default port.
func CORS(origins []string) (gin.HandlerFunc, error) {
	for _, origin := range origins {
		if origin != "*" && !strings.Contains(origin, "://") {
			return nil, fmt.Errorf(`origin %q: want "*" or scheme://host[:port]`, origin)
		}
	}
	anyReads := slices.Contains(origins, "*")
	listed := func(origin string) bool { return slices.Contains(origins, origin) }
	read := cors.Config{
		AllowAllOrigins: anyReads,
		AllowMethods:    []string{http.MethodGet, http.MethodHead},
		AllowHeaders: []string{"Last-Event-ID", "Authorization", "Idempotency-Key", "Event-Type", "Event-TTL", "Cache-Control", "Content-Type", "Accept",
			"Traceparent", "Tracestate"},
		ExposeHeaders: []string{requestIDHeader, "Freshet-Stream", "Retry-After"},
		MaxAge:        time.Hour,
	}
	if !anyReads {
		read.AllowOriginFunc = listed
	}
	write := read
	write.AllowAllOrigins, write.AllowOriginFunc = false, listed
	write.AllowMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete}
	reading, writing := cors.New(read), cors.New(write)

	return func(c *gin.Context) {
		// A cache must not give a page of another origin the answer to a request without Origin, which has no CORS headers.
		c.Writer.Header().Add("Vary", "Origin")
		origin := c.GetHeader("Origin")
		if origin == "" || sameOrigin(c.Request, origin) {
			return
		}
		switch reads := readsOnly(c.Request) || hasTicket(c.Request); {
		case reads && (anyReads || listed(origin)):
			reading(c)
		case !reads && listed(origin):
			writing(c)
		default:
			// The 403 of package cors has no body.
			refuse(c, http.StatusForbidden, "origin",
				"pages of this origin may not do this here; the operator can allow it with --cors-origin scheme://host[:port]")
		}
	}, nil
}

// hasTicket reports whether the request publishes with a ticket. The ticket itself says which origin's pages may use it, and it takes
// precedence over a cookie.
func hasTicket(r *http.Request) bool {
	method := cmp.Or(r.Header.Get("Access-Control-Request-Method"), r.Method)
	return method == http.MethodPost && r.URL.Query().Has("ticket")
}

// readsOnly reports whether the method only reads. A preflight counts as the request that it asks about.
func readsOnly(r *http.Request) bool {
	method := r.Method
	if method == http.MethodOptions {
		method = r.Header.Get("Access-Control-Request-Method")
	}
	return method == http.MethodGet || method == http.MethodHead || method == ""
}

// sameOrigin also trusts Sec-Fetch-Site, which stays right if a proxy changes Host or if the page's referrer policy makes Origin null.
// Only programs other than browsers can forge it, and CORS does not stop those anyway.
func sameOrigin(r *http.Request, origin string) bool {
	return r.Header.Get("Sec-Fetch-Site") == "same-origin" || origin == "http://"+r.Host || origin == "https://"+r.Host
}
