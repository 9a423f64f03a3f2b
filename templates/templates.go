// Package templates holds the pages that the server renders: one, index.html, which takes
// a struct with the field Version (a string, empty when it is not to be shown).
//
// A page works under a content security policy that allows scripts, styles and connections
// of its own origin only: there is no inline script and no style attribute in it.
package templates

import (
	"embed"
	"html/template"
)

//go:embed *.html
var files embed.FS

// Parse returns the pages, each under its file name.
func Parse() (*template.Template, error) {
	return template.ParseFS(files, "*.html")
}
