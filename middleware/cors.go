package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
)

// CORS lets pages of the given origins read (GET, HEAD), never with credentials, and pages of the same origin and of those listed by
// name do all the rest; `*` lets every origin read and none publish. Others get 403. It answers preflights for what they ask to do.
//
// An origin is `*` or scheme://host[:port] in the form in which browsers send it: lower case, no default port.
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
		AllowHeaders: []string{"Last-Event-ID", "Authorization", "Idempotency-Key", "Event-Type", "Cache-Control", "Content-Type",
			"Accept"},
		ExposeHeaders: []string{requestIDHeader},
		MaxAge:        time.Hour,
	}
	if !anyReads {
		read.AllowOriginFunc = listed
	}
	write := read
	write.AllowAllOrigins, write.AllowOriginFunc = false, listed
	write.AllowMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete}
	for _, config := range []cors.Config{read, write} {
		// cors.New panics at what Validate returns.
		if err := config.Validate(); err != nil {
			return nil, fmt.Errorf("CORS: %w", err)
		}
	}
	reading, writing := cors.New(read), cors.New(write)

	return func(c *gin.Context) {
		// Even where all origins may read: an answer to a request without Origin carries no permission, and must not be what a cache
		// gives to a page of another origin.
		c.Writer.Header().Add("Vary", "Origin")
		origin := c.GetHeader("Origin")
		if origin == "" || sameOrigin(c.Request, origin) {
			return
		}
		switch reads := readsOnly(c.Request); {
		case reads && (anyReads || listed(origin)):
			reading(c)
		case !reads && listed(origin):
			writing(c)
		default:
			// Here and not in cors, whose 403 has no body.
			refuse(c, http.StatusForbidden, "origin",
				"pages of this origin may not do this here; the operator allows it with --cors-origin and the origin, as scheme://host[:port]")
		}
	}, nil
}

// readsOnly says of a preflight what holds for the request that it asks about.
func readsOnly(r *http.Request) bool {
	method := r.Method
	if method == http.MethodOptions {
		method = r.Header.Get("Access-Control-Request-Method")
	}
	return method == http.MethodGet || method == http.MethodHead || method == ""
}

// sameOrigin also believes the browser's own word, which is right where a proxy changes Host, and where the page's referrer policy
// turns Origin into null. Only scripts outside browsers can forge it, and CORS is no bar to those.
func sameOrigin(r *http.Request, origin string) bool {
	return r.Header.Get("Sec-Fetch-Site") == "same-origin" || origin == "http://"+r.Host || origin == "https://"+r.Host
}
