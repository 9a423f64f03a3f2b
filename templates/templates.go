// Package templates holds the pages that the server renders: one, index.html, which takes
// a struct with the field Version (a string, empty when it is not to be shown).
//
// A page works under a content security policy that allows scripts, styles and connections
// of its own origin only: there is no inline script and no style attribute in it.
package templates

import (
	"embed"
	"fmt"
	"html/template"

	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/html"
)

//go:embed index.html
var files embed.FS

// Parse returns the pages, each under its file name, made smaller.
func Parse() (*template.Template, error) {
	const name = "index.html"
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	small := minify.New()
	small.Add("html", &html.Minifier{TemplateDelims: html.GoTemplateDelims, KeepDefaultAttrVals: true, KeepDocumentTags: true, KeepEndTags: true, KeepQuotes: true})
	if text, err = small.Bytes("html", text); err != nil {
		return nil, fmt.Errorf("templates: make %s smaller: %w", name, err)
	}
	return template.New(name).Parse(string(text))
}
