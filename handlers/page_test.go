package handlers_test

import (
	"bytes"
	"compress/gzip"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"freshet/handlers"

	"github.com/andybalholm/brotli"
)

func TestFilesForBrowsers(t *testing.T) {
	script := strings.Repeat("export const answer = 42;\n", 100)
	s := newServer(t, func(cfg *handlers.Config) {
		cfg.Page = template.Must(template.New("index.html").Parse(`<title>{{.Version}}</title>` + strings.Repeat("<p>text", 100)))
		cfg.Version = "v1 & more"
		cfg.Assets = fstest.MapFS{
			"page.js": {Data: []byte(script)}, "a/b.css": {Data: []byte("x")}, "page.d.ts": {Data: []byte(script)}, "icon.svg": {Data: []byte("<svg/>")},
		}
		cfg.OpenAPI = "openapi: 3.1.0"
	})
	page := `<title>v1 &amp; more</title>` + strings.Repeat("<p>text", 100)
	for target, want := range map[string]struct{ contentType, content string }{
		"/":                 {"text/html; charset=utf-8", page},
		"/assets/page.js":   {"text/javascript; charset=utf-8", script},
		"/assets/page.d.ts": {"application/typescript; charset=utf-8", script},
		"/assets/a/b.css":   {"text/css; charset=utf-8", "x"},
		"/assets/icon.svg":  {"image/svg+xml", "<svg/>"},
		"/openapi.yaml":     {"application/yaml", "openapi: 3.1.0"},
	} {
		etags := map[string]string{} // by coding
		for accept, coding := range map[string]string{
			"": "", "identity": "", "deflate, zstd": "", "br;q=0, gzip; q=0.0": "",
			"gzip": "gzip", "gzip, deflate": "gzip", "br;q=0,GZIP;q=0.5": "gzip",
			"gzip, deflate, br, zstd": "br", "br;q=1.0": "br",
		} {
			headers := []string{"Accept-Encoding", accept}
			if accept == "" {
				headers = nil
			}
			w := s.do("GET", target, "", headers...)
			h := w.Header()
			if w.Code != 200 || h.Get("Content-Type") != want.contentType || h.Get("Content-Encoding") != coding ||
				h.Get("Vary") != "Accept-Encoding" || h.Get("Cache-Control") != "no-cache" || h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
				t.Errorf("%s, Accept-Encoding %q: %d %v", target, accept, w.Code, h)
			}
			sent := w.Body.Len()
			if got := decode(t, coding, w.Body); got != want.content {
				t.Errorf("%s, Accept-Encoding %q: %.100q, want %.100q", target, accept, got, want.content)
			}
			if coding != "" && len(want.content) > 500 && sent > len(want.content)/2 {
				t.Errorf("%s by %s has %d of %d bytes", target, coding, sent, len(want.content))
			}
			etag := h.Get("ETag")
			if before, ok := etags[coding]; etag == "" || ok && before != etag {
				t.Errorf("%s, Accept-Encoding %q: ETag %s, before %s", target, accept, etag, before)
			}
			etags[coding] = etag

			w = s.do("HEAD", target, "", headers...)
			if w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") != strconv.Itoa(sent) || w.Header().Get("ETag") != etag {
				t.Errorf("HEAD %s, Accept-Encoding %q: %d %v, %d bytes", target, accept, w.Code, w.Header(), w.Body.Len())
			}
			for known, status := range map[string]int{etag: http.StatusNotModified, `"other", ` + etag: http.StatusNotModified, `"other"`: http.StatusOK} {
				w := s.do("GET", target, "", append(headers, "If-None-Match", known)...)
				if w.Code != status || status == http.StatusNotModified && (w.Body.Len() > 0 || w.Header().Get("ETag") != etag || w.Header().Get("Vary") != "Accept-Encoding") {
					t.Errorf("%s, If-None-Match %s: %d %v", target, known, w.Code, w.Header())
				}
			}
		}
		if etags[""] == etags["gzip"] || etags["gzip"] == etags["br"] || etags["br"] == etags[""] {
			t.Errorf("%s: variants share an ETag: %v", target, etags)
		}
	}
	for _, target := range []string{"/assets/", "/assets/none.js", "/assets/../go.mod", "/assets/a", "/assets/index.html"} {
		if w := s.do("GET", target, ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "not_found") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for _, target := range []string{"/", "/openapi.yaml"} {
		if w := newServer(t, nil).do("GET", target, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s, which was not configured: %d", target, w.Code)
		}
	}
}

func decode(t *testing.T, coding string, body *bytes.Buffer) string {
	t.Helper()
	var r io.Reader = body
	switch coding {
	case "gzip":
		z, err := gzip.NewReader(body)
		must(t, err)
		r = z
	case "br":
		r = brotli.NewReader(body)
	}
	content, err := io.ReadAll(r)
	must(t, err)
	return string(content)
}
