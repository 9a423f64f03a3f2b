package handlers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/render"
)

// policy lets the page load and reach nothing but its own server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// page serves GET /.
func (h *Handlers) page(c *gin.Context) {
	c.Header("Content-Security-Policy", policy)
	c.Header("Cache-Control", "no-cache")
	c.Render(http.StatusOK, render.HTML{Template: h.cfg.Page, Name: "index.html", Data: struct{ Version string }{h.cfg.Version}})
}

type asset struct {
	content []byte
	etag    string
}

func loadAssets(files fs.FS) (map[string]asset, error) {
	assets := map[string]asset{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		sum := sha256.Sum256(content)
		assets[name] = asset{content, `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("handlers: read the assets: %w", err)
	}
	return assets, nil
}

// asset serves GET /assets/{name}. Browsers keep a copy and ask whether it still holds.
func (h *Handlers) asset(c *gin.Context) {
	name := strings.TrimPrefix(c.Param("name"), "/")
	a, ok := h.assets[name]
	if !ok {
		fail(c, errNotFound)
		return
	}
	c.Header("ETag", a.etag)
	c.Header("Cache-Control", "no-cache")
	// Not as the system's table has them: to some, .ts is video.
	switch path.Ext(name) {
	case ".js":
		c.Header("Content-Type", "text/javascript; charset=utf-8")
	case ".ts":
		c.Header("Content-Type", "application/typescript; charset=utf-8")
	}
	http.ServeContent(c.Writer, c.Request, path.Base(name), time.Time{}, bytes.NewReader(a.content))
}
