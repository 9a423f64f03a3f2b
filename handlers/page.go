package handlers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/gin-gonic/gin"
)

// policy lets the page load and reach nothing but its own server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// contentTypes come before the system's table, where .ts can be a video.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".ts":   "application/typescript; charset=utf-8",
	".yaml": "application/yaml", // RFC 9512
}

// brotliLevel is the level from which on a higher one saves little: the highest saves 9 % more, in twenty times the time.
const brotliLevel = 5

// brotliWindow is the base-2 logarithm of Brotli's window: the default would take megabytes for each small file.
const brotliWindow = 16

// file is a file for browsers, by content coding: "br", "gzip", or "" for its bytes as they are.
type file struct {
	name     string
	variants map[string]variant
}

type variant struct {
	content []byte
	etag    string
}

// compressor makes files. It reuses its writers, because each takes more memory than all files.
type compressor struct {
	compressed bytes.Buffer // never fails, so a writer into it does not fail either
	brotli     *brotli.Writer
	gzip       *gzip.Writer
}

func newCompressor() *compressor {
	return &compressor{brotli: brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow}), gzip: gzip.NewWriter(nil)}
}

func (z *compressor) newFile(name string, content []byte) file {
	f := file{name, map[string]variant{"": newVariant(content)}}
	for coding, w := range map[string]interface {
		io.WriteCloser
		Reset(w io.Writer)
	}{"br": z.brotli, "gzip": z.gzip} {
		z.compressed.Reset()
		w.Reset(&z.compressed)
		_, _ = w.Write(content)
		_ = w.Close()
		f.variants[coding] = newVariant(bytes.Clone(z.compressed.Bytes()))
	}
	return f
}

func newVariant(content []byte) variant {
	sum := sha256.Sum256(content)
	return variant{content, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// serve answers with the smallest variant that the client accepts. Browsers keep a copy and ask whether it is still valid.
func (f file) serve(c *gin.Context) {
	coding := acceptedCoding(c.Request.Header.Values("Accept-Encoding"))
	v := f.variants[coding]
	header := c.Writer.Header()
	header.Add("Vary", "Accept-Encoding")
	header.Set("ETag", v.etag)
	header.Set("Cache-Control", "no-cache")
	if contentType, ok := contentTypes[path.Ext(f.name)]; ok {
		header.Set("Content-Type", contentType)
	}
	if coding != "" {
		header.Set("Content-Encoding", coding)
		header.Set("Content-Length", strconv.Itoa(len(v.content))) // ServeContent leaves it out of encoded answers
	}
	http.ServeContent(c.Writer, c.Request, f.name, time.Time{}, bytes.NewReader(v.content))
}

// acceptedCoding returns the best coding that the values of Accept-Encoding name, or "".
func acceptedCoding(accept []string) string {
	for _, coding := range []string{"br", "gzip"} {
		for offer := range strings.SplitSeq(strings.Join(accept, ","), ",") {
			name, weight, weighted := strings.Cut(offer, ";")
			refused := weighted && strings.Trim(weight, " q=0.") == ""
			if strings.EqualFold(strings.TrimSpace(name), coding) && !refused {
				return coding
			}
		}
	}
	return ""
}

// renderPage returns index.html, which is the same for every request.
func renderPage(page *template.Template, version string) (file, error) {
	const name = "index.html"
	var text bytes.Buffer
	if err := page.ExecuteTemplate(&text, name, struct{ Version string }{version}); err != nil {
		return file{}, fmt.Errorf("handlers: render the page: %w", err)
	}
	return newCompressor().newFile(name, text.Bytes()), nil
}

func loadAssets(files fs.FS) (map[string]file, error) {
	assets, compressor := map[string]file{}, newCompressor()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		assets[name] = compressor.newFile(name, content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("handlers: read the assets: %w", err)
	}
	return assets, nil
}

// servePage serves GET /.
func (h *Handlers) servePage(c *gin.Context) {
	c.Header("Content-Security-Policy", policy)
	h.page.serve(c)
}

// serveAsset serves GET /assets/{name}.
func (h *Handlers) serveAsset(c *gin.Context) error {
	f, ok := h.assets[strings.TrimPrefix(c.Param("name"), "/")]
	if !ok {
		return errNotFound
	}
	f.serve(c)
	return nil
}
