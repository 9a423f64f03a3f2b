// Package templates holds the pages that the server renders: one, index.html. Its data is a struct with the field Version, a
// string; an empty version is not shown.
//
// The page's content security policy allows scripts, styles and connections of its own origin only. So the page has no inline
// script and no style attribute.
package templates

import (
	"embed"
	"html/template"
)

//go:embed index.html
var files embed.FS

// Parse returns the pages, each under its file name.
func Parse() (*template.Template, error) { return template.ParseFS(files, "*.html") }
