package middleware

import (
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"
)

// Log writes the access log: one record when the handler returns. A handler that flushes streams, and gets two records: "stream
// opened" just before the first flush, and "stream closed" at the end. A handler adds to its record through the [gin.Context]'s key
// "access_log" (see the package comment).
//
// A record has the route's path and the values of those parameters that are public; of the rest of the request's target it has only
// how much there was. JSON web tokens are replaced in all texts.
//
// A 5xx is an error, except 503 and 507: their cause concerns many requests, and the part that finds it logs it once. Successful requests
// for probes, metrics and assets are debug records, all others info.
func Log(logger *slog.Logger, public map[string]func(value string) bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		a := &accessRecord{c: c, logger: logger, public: public, start: time.Now()}
		a.writer = &writer{ResponseWriter: c.Writer, beforeFlush: func() {
			a.write("stream opened", false, false)
			endSpanOfStream(c)
		}}
		c.Writer = a.writer
		c.Set("access_log", a)
		aborted := true // a handler that panics, which cuts the connection
		defer func() {
			a.returned(aborted)
			endSpanOfStream(c)
		}()
		c.Next()
		aborted = false
	}
}

// fields are the content of a record.
type fields struct {
	id, traceID               string
	method, path, query       string
	status, bytes             int
	client, userAgent, origin string
	failure                   error       // of a 5xx, or why a stream was refused
	attrs                     []slog.Attr // the handler's
	done, aborted             bool        // aborted: by a panic, which cuts the connection
	duration                  time.Duration
}

func (a *accessRecord) fields() fields {
	c := a.c
	f := fields{
		id: RequestIDFrom(c), traceID: c.GetString(traceIDKey), method: methodOf(c.Request), path: a.public.path(c), query: a.public.query(c.Request.URL.RawQuery),
		status: c.Writer.Status(), bytes: max(0, c.Writer.Size()), // Gin's size is -1 before the first byte
		client: c.ClientIP(), userAgent: c.Request.UserAgent(), origin: c.GetHeader("Origin"),
	}
	// The status of a 4xx says enough, but a refused stream is a 200.
	if last := c.Errors.Last(); last != nil && (f.status >= http.StatusInternalServerError || f.status < http.StatusBadRequest) {
		f.failure = last
	}
	return f
}

func levelOf(c *gin.Context) slog.Level {
	status := c.Writer.Status()
	switch {
	case status == http.StatusServiceUnavailable || status == http.StatusInsufficientStorage:
		return slog.LevelInfo
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case quiet(c.Request.URL.Path) && status < http.StatusBadRequest:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// quiet reports whether successful requests for the path are unimportant: probes, metrics and assets.
func quiet(path string) bool {
	return path == "/livez" || path == "/readyz" || path == "/metrics" || strings.HasPrefix(path, "/assets/")
}

// LogValue leaves out empty fields.
func (f fields) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String(requestIDKey, f.id), slog.String("method", f.method), slog.String("path", clean(f.path))}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, clean(value)))
		}
	}
	text(traceIDKey, f.traceID)
	text("query", f.query)
	attrs = append(attrs, slog.Int("status", f.status))
	if f.done {
		attrs = append(attrs, slog.Duration("duration", f.duration), slog.Int("bytes", f.bytes))
	}
	if f.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	text("client", f.client)
	text("user_agent", f.userAgent)
	text("origin", f.origin)
	if f.failure != nil {
		text("error", f.failure.Error())
	}
	for _, attr := range f.attrs { // a handler may add text from the request
		if attr.Value.Kind() == slog.KindString {
			attr.Value = slog.StringValue(clean(attr.Value.String()))
		}
		attrs = append(attrs, attr)
	}
	return slog.GroupValue(attrs...)
}

// maxText is the length in bytes at which a text of a record is cut.
const maxText = 512

// clean hides tokens in a text from a request, cuts it and makes it printable: not every slog handler escapes the characters that move a terminal's cursor.
func clean(text string) string {
	text = hideTokens(text)
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
