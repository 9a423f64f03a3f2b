// Package assets holds the files that the browser loads. There is no build step: the server
// offers each at /assets/ and its name, where index.html and the modules expect it. Scripts
// and style sheets it makes smaller when it starts.
package assets

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"

	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/css"
	"github.com/tdewolff/minify/v2/js"
)

//go:embed *.css *.js *.ts *.svg
var files embed.FS

// Files returns the browser's files, all at the top level: page.css, page.js and so on.
// It is read-only and safe for concurrent use.
func Files() (fs.FS, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	small := minify.New()
	small.AddFunc(".css", css.Minify)
	small.AddFunc(".js", js.Minify)
	var packed bytes.Buffer // a zip archive, as that is a file system
	w := zip.NewWriter(&packed)
	for _, e := range entries {
		content, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		if ext := path.Ext(e.Name()); ext == ".css" || ext == ".js" {
			if content, err = small.Bytes(ext, content); err != nil {
				return nil, fmt.Errorf("assets: make %s smaller: %w", e.Name(), err)
			}
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.Name(), Method: zip.Store})
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
}
