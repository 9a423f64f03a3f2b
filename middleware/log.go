package middleware

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"
)

// Log writes one record a request, when the handler is done. A stream, which is whatever is flushed before its handler returns,
// gets two: "stream opened" just before the first flush and "stream closed". A 503 is a warning, another 5xx an error, a healthy
// probe or asset is for debugging, all else is info.
func Log(logger *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		ctx := c.Request.Context()
		write := func(text string, done, aborted bool) {
			level := levelOf(c.Request.URL.Path, c.Writer.Status())
			if !logger.Enabled(ctx, level) {
				return
			}
			r := recordOf(c)
			if done {
				r.done, r.aborted, r.duration = true, aborted, time.Since(start)
			}
			logger.LogAttrs(ctx, level, text, slog.Any("", r))
		}
		w := &writer{ResponseWriter: c.Writer, beforeFlush: func() { write("stream opened", false, false) }}
		c.Writer = w
		detached := false
		// A handler that leaves a stream to others calls it: what it returns completes the record, whenever the stream ends, with
		// all that the handler adds to it.
		c.Set("log.detach", func() func(int, ...slog.Attr) {
			detached = true
			level := levelOf(c.Request.URL.Path, c.Writer.Status())
			if !logger.Enabled(ctx, level) {
				return func(int, ...slog.Attr) {}
			}
			kept := pack(recordOf(c))
			return func(bytes int, more ...slog.Attr) {
				r := kept.record()
				r.done, r.bytes, r.duration, r.more = true, bytes, time.Since(start), more
				logger.LogAttrs(context.Background(), level, "stream closed", slog.Any("", r))
			}
		})
		aborted := true
		// Deferred for the handler that panics: the connection is cut then.
		defer func() {
			if detached && !aborted {
				return
			}
			text := "request"
			if w.flushed {
				text = "stream closed"
			}
			write(text, true, aborted)
		}()
		c.Next()
		aborted = false
	}
}

// record is the access-log record.
type record struct {
	id, method, path, query   string
	status, bytes             int
	client, userAgent, origin string
	failure                   error       // of a 5xx, or why a stream was refused
	more                      []slog.Attr // the handler's
	done, aborted             bool        // aborted: by a panic, which cuts the connection
	duration                  time.Duration
}

func recordOf(c *gin.Context) record {
	r := record{
		id: RequestIDFrom(c), method: c.Request.Method, path: c.Request.URL.Path, query: redact(c.Request.URL.RawQuery),
		status: c.Writer.Status(), bytes: max(0, c.Writer.Size()), // Gin's size is -1 before the first byte
		client: c.ClientIP(), userAgent: c.Request.UserAgent(), origin: c.GetHeader("Origin"),
	}
	if strings.HasPrefix(r.path, "/ticket/") {
		r.path = "/ticket/[redacted]"
	}
	// An answer of 4xx says all; a refused stream is a 200.
	if last := c.Errors.Last(); last != nil && (r.status >= http.StatusInternalServerError || r.status < http.StatusBadRequest) {
		r.failure = last
	}
	if more, ok := c.Get("log"); ok {
		r.more, _ = more.([]slog.Attr)
	}
	return r
}

// packed is the record of a request that is over and whose stream lasts: there may be half a million.
type packed struct {
	texts  string // one after the other
	ends   [7]uint16
	status uint16
}

func (r *record) texts() [7]*string {
	return [7]*string{&r.id, &r.method, &r.path, &r.query, &r.client, &r.userAgent, &r.origin}
}

// pack copies the texts, as what they were cut from may be large, as far as clean looks at them.
func pack(r record) packed {
	p := packed{status: uint16(r.status)}
	var all []byte
	for i, text := range r.texts() {
		all = append(all, (*text)[:min(len(*text), mostText+1)]...)
		p.ends[i] = uint16(len(all))
	}
	p.texts = string(all)
	return p
}

func (p packed) record() record {
	r, from := record{status: int(p.status)}, uint16(0)
	for i, text := range r.texts() {
		*text, from = p.texts[from:p.ends[i]], p.ends[i]
	}
	return r
}

func levelOf(path string, status int) slog.Level {
	quiet := path == "/livez" || path == "/readyz" || strings.HasPrefix(path, "/assets/")
	switch {
	case status == http.StatusServiceUnavailable:
		return slog.LevelWarn
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case quiet && status < http.StatusBadRequest:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// LogValue leaves out what is empty.
func (r record) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String(requestIDKey, r.id), slog.String("method", clean(r.method)), slog.String("path", clean(r.path))}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, clean(value)))
		}
	}
	text("query", r.query)
	attrs = append(attrs, slog.Int("status", r.status))
	if r.done {
		attrs = append(attrs, slog.Duration("duration", r.duration), slog.Int("bytes", r.bytes))
	}
	if r.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	text("client", r.client)
	text("user_agent", r.userAgent)
	text("origin", r.origin)
	if r.failure != nil {
		text("error", r.failure.Error())
	}
	for _, attr := range r.more { // a handler may hand on what it was sent
		if attr.Value.Kind() == slog.KindString {
			attr.Value = slog.StringValue(clean(attr.Value.String()))
		}
		attrs = append(attrs, attr)
	}
	return slog.GroupValue(attrs...)
}

// redact replaces the values of parameters that carry credentials, or might: by any name with ticket, token or the like in it, and by
// whatever name where it looks like a JSON web token.
func redact(query string) string {
	// Go takes no `;` for a separator, but whoever sent one may have.
	pairs := strings.Split(strings.ReplaceAll(query, ";", "&"), "&")
	for i, pair := range pairs {
		key, value, hasValue := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		name = strings.ToLower(name)
		if hasValue && (err != nil || strings.HasPrefix(value, "eyJ") || slices.ContainsFunc(secretNames, func(part string) bool { return strings.Contains(name, part) })) {
			pairs[i] = key + "=[redacted]"
		}
	}
	return strings.Join(pairs, "&")
}

var secretNames = []string{"ticket", "token", "jwt", "auth", "secret", "password"}

// mostText is how much of a text a record has, in bytes.
const mostText = 512

// clean bounds what a stranger can put into a record, and keeps it printable: not every slog handler escapes all that moves a
// terminal's cursor.
func clean(text string) string {
	if len(text) > mostText {
		text = text[:mostText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
