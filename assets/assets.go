// Package assets holds the files that the browser loads, as they are in this folder: there
// is no build step. The server offers each at /assets/ and its name, where index.html and
// the modules expect it.
package assets

import (
	"embed"
	"io/fs"
)

//go:embed *.css *.js *.ts *.svg
var files embed.FS

// Files returns the browser's files, all at the top level: page.css, page.js and so on.
// It is read-only and safe for concurrent use.
func Files() fs.FS { return files }
