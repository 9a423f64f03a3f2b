package middleware_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"freshet/auth"
	"freshet/middleware"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
)

// Only the exact token makes a publisher. Other credentials change neither the answer nor the log.
func FuzzAuthorization(f *testing.F) {
	for _, header := range []string{
		"", "Bearer " + token, "bearer  " + token + " ", "Bearer " + token[1:], "Bearer " + token + "x", "Bearer", "Bearer ", "Bearer\t" + token,
		"Basic " + token, "Bearer Bearer " + token, "BEARER \x00\xff\u202e", "Bearer " + strings.Repeat("x", 10_000), "Bearer " + token + ", Bearer " + token,
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		want, reference := http.StatusOK, ""
		if scheme, credential, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Bearer") {
			want, reference = http.StatusUnauthorized, "Bearer another-token"
			if strings.TrimSpace(credential) == token {
				want, reference = http.StatusCreated, "Bearer "+token
			}
		}
		status, answer, record := authorized(t, header)
		_, referenceAnswer, referenceRecord := authorized(t, reference)
		if status != want {
			t.Errorf("Authorization %q: %d, want %d", header, status, want)
		}
		if diff := cmp.Diff(referenceAnswer, answer) + cmp.Diff(referenceRecord, record); diff != "" {
			t.Errorf("Authorization %q shows (-%q):\n%s", header, reference, diff)
		}
	})
}

// authorized returns the answer to a request with the header, 201 if it may publish, and its log record.
func authorized(t *testing.T, header string) (status int, answer string, record map[string]any) {
	t.Helper()
	engine, logged := application(t)
	engine.POST("/event", func(c *gin.Context) {
		if auth.FromContext(c.Request.Context()).MayPublish("a") == nil {
			c.Status(http.StatusCreated)
		}
	})
	response := serve(engine, request(t, "POST /event", "X-Request-ID: r", "Authorization: "+header))
	records := logged.records(t)
	if len(records) != 1 {
		t.Fatalf("logged %s", logged)
	}
	delete(records[0], "time")
	delete(records[0], "duration")
	return response.StatusCode, body(t, response), records[0]
}

// A record is one short line of printable text without the ticket, for any request, attribute and error.
func FuzzLog(f *testing.F) {
	f.Add("GET", "/event", "topic=a&since=all", "curl/8", "a.b c", false)
	f.Add("G\x1b[31m", "/a\r\nlevel=ERROR\u009b31m", "%74icket=\u202e;ticket", "\x7f\xff\u2066", "\u2028\u0085\ufeff\u00ad", true)
	f.Add("", "", "ticket", strings.Repeat("ü", 5000), strings.Repeat("\x00", 5000), true)
	f.Add("M", "/ticket/x", strings.Repeat("&", 5000), strings.Repeat("\xff", 5000), strings.Repeat(`"\`, 5000), false)
	f.Fuzz(func(t *testing.T, method, path, query, header, attr string, fails bool) {
		const secret = "s3cret-of-a-ticket"
		if strings.Contains(method+path+query+header+attr, secret) {
			return // here it is not marked as a secret
		}
		var text, lines bytes.Buffer
		logger := slog.New(slog.NewMultiHandler(slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&lines, nil)))
		engine := gin.New()
		engine.Use(middleware.RequestID(), middleware.Log(logger, public), middleware.Recover(logger))
		engine.NoRoute(func(c *gin.Context) {
			addToRecord(c, slog.String("topics", attr), slog.Int("events", 1))
			_ = c.Error(errors.New(attr))
			c.Status(http.StatusOK)
			if fails {
				c.Status(http.StatusInternalServerError)
			}
		})
		r := request(t, "GET /")
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query+"&ticket="+secret+"&"+query
		r.Header = http.Header{"User-Agent": {header}, "Origin": {header}, "X-Request-Id": {header}, "X-Forwarded-For": {header}}
		serve(engine, r)

		var record map[string]any
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil || record["msg"] != "request" {
			t.Errorf("logged %q: %v", lines.String(), err)
		}
		for _, line := range []string{text.String(), lines.String()} {
			line, ended := strings.CutSuffix(line, "\n")
			if !ended || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("not one printable line: %q", line)
			}
			if strings.Contains(line, secret) {
				t.Errorf("the ticket is logged: %q", line)
			}
			if len(line) > 16<<10 {
				t.Errorf("a record of %d bytes", len(line))
			}
		}
	})
}

// A token in a request line, wherever it is, does not reach the log. Only the value of a public parameter may show it.
func FuzzTokenInTheRequestLine(f *testing.F) {
	for _, line := range []string{
		"GET /", "GET /?key=", "GET /?", "GET /event?topic=a&ticket=", "GET /history?q=Bearer%20", "GET /TICKET/", "GET //ticket/", "DELETE /ticket/",
		"POST /event/a?type=", "GET /event/a?since=last;", "GET http://x:@y/event#", "GET /event/a%2f", "GET /event?topic=a?ticket=", "OPTIONS *", "CONNECT x:1", "",
	} {
		f.Add(line, uint(len(line)))
		f.Add(line, uint(0))
		f.Add(line, uint(len(line)/2))
	}
	f.Fuzz(func(t *testing.T, line string, at uint) {
		const secret = "S3CRETs3cretS3CRET"
		at %= uint(len(line)) + 1
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line[:at] + secret + line[at:] + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || strings.ContainsAny(line, "\r\n") {
			return // such a request reaches no handler
		}
		logged := &sink{}
		engine, isPublic := gin.New(), false
		engine.HandleMethodNotAllowed, engine.RedirectTrailingSlash = true, false
		engine.Use(middleware.RequestID(), middleware.Log(slog.New(slog.NewJSONHandler(logged, nil)), public), func(c *gin.Context) {
			values := []string{c.Param("topic")}
			for name, valid := range public {
				if !valid(secret) {
					continue
				}
				values = append(values, c.QueryArray(name)...)
				for _, pair := range strings.Split(c.Request.URL.RawQuery, ";") { // the log splits there too
					if value, ok := strings.CutPrefix(pair, name+"="); ok {
						values = append(values, value)
					}
				}
			}
			isPublic = strings.Contains(strings.Join(values, " "), secret)
		})
		for _, route := range []string{"/", "/event", "/event/:topic", "/history", "/ticket/:id", "/assets/*name"} {
			engine.GET(route, func(*gin.Context) {})
		}
		engine.ServeHTTP(httptest.NewRecorder(), r)
		if text := logged.String(); !isPublic && strings.Contains(strings.ToLower(text), strings.ToLower(secret)) || text == "" {
			t.Errorf("%q with a token at %d is logged as %s", line, at, text)
		}
	})
}
