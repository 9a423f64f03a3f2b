package e2e_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"freshet/app/apptest"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// document is a Markdown file of the project.
type document struct {
	name     string // with slashes, from the top
	blocks   []block
	links    []string
	spans    []string // inline code
	headings map[string]bool
}

// block is a fenced code block.
type block struct {
	language string // the first word after the fence
	info     string // the rest of that line
	text     string
	line     int
}

// documents are the files that users and developers read.
func documents(t *testing.T) []document {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "assets/README.md"}
	for _, folder := range []string{"docs", "deploy", "examples"} {
		must(t, filepath.WalkDir(filepath.Join(top, folder), func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "node_modules" {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || filepath.Ext(name) != ".md" {
				return err
			}
			rel, err := filepath.Rel(top, name)
			names = append(names, filepath.ToSlash(rel))
			return err
		}))
	}
	var all []document
	for _, name := range names {
		all = append(all, parseDocument(t, name))
	}
	return all
}

func parseDocument(t *testing.T, name string) document {
	t.Helper()
	source := []byte(read(t, name))
	d := document{name: name, headings: map[string]bool{}}
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	must(t, ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			b := block{text: string(n.Lines().Value(source))}
			if n.Info != nil {
				b.language, b.info, _ = strings.Cut(string(n.Info.Value(source)), " ")
			}
			if n.Lines().Len() > 0 {
				b.line = 1 + strings.Count(string(source[:n.Lines().At(0).Start]), "\n")
			}
			d.blocks = append(d.blocks, b)
		case *ast.Link:
			d.links = append(d.links, string(n.Destination))
		case *ast.Image:
			d.links = append(d.links, string(n.Destination))
		case *ast.CodeSpan:
			d.spans = append(d.spans, inlineText(n, source))
		case *ast.Heading:
			anchor := anchorOf(inlineText(n, source))
			for base, i := anchor, 1; d.headings[anchor]; i++ { // GitHub numbers headings with the same text
				anchor = fmt.Sprintf("%s-%d", base, i)
			}
			d.headings[anchor] = true
		}
		return ast.WalkContinue, nil
	}))
	return d
}

// inlineText is the text of a node without its markup.
func inlineText(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the function returns no error
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchorOf is the anchor that GitHub gives a heading.
func anchorOf(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestLinksOfDocuments(t *testing.T) {
	all := documents(t)
	headings := map[string]map[string]bool{}
	for _, d := range all {
		headings[d.name] = d.headings
	}
	links := 0
	for _, d := range all {
		for _, link := range d.links {
			if strings.HasPrefix(link, "https://") || strings.HasPrefix(link, "http://") {
				continue // tests reach no other machine
			}
			links++
			file, anchor, hasAnchor := strings.Cut(link, "#")
			target := d.name
			if file != "" {
				target = path.Join(path.Dir(d.name), file)
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", d.name, link)
			} else if hasAnchor && !headings[target][anchor] {
				t.Errorf("%s links to %s, but %s has no such heading, only %q", d.name, link, target, slices.Sorted(maps.Keys(headings[target])))
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// frontend is the folder of the app that TestFrontends runs.
const frontend = "e2e/testdata/frontend"

// bundled is the word after `js` for a piece of that app, or of a page in recipes/.
const bundled = "bundled"

// Code in a document is a piece of a file that is compiled, run or checked elsewhere. TestDocuments runs shell and JavaScript.
func TestSnippetsOfDocuments(t *testing.T) {
	sources := map[string]string{"go": "", "files": "", frontend: ""}
	for _, file := range goFiles(t) {
		sources["go"] += unindented(read(t, file.path))
	}
	for folder, kind := range map[string]string{"deploy": "files", "recipes": "files", frontend: frontend} {
		must(t, filepath.WalkDir(filepath.Join(top, folder), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(name) == ".md" {
				return err
			}
			contents, err := os.ReadFile(name)
			sources[kind] += unindented(string(contents))
			return err
		}))
	}
	snippets := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			snippets++
			at := fmt.Sprintf("%s:%d", d.name, b.line)
			switch b.language {
			case "js":
				if b.info == bundled && !strings.Contains(sources[frontend]+sources["files"], unindented(b.text)) {
					t.Errorf("%s: no file in %s or recipes/ has these lines, so nothing runs them:\n%s", at, frontend, b.text)
				}
			case "sh", "ts", "html", "output", "text":
			case "json":
				if err := validJSON(b.text); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			case "go":
				if !strings.Contains(sources["go"], unindented(b.text)) {
					t.Errorf("%s: no Go file has these lines, so nothing compiles them:\n%s", at, b.text)
				}
			case "nginx", "haproxy", "yaml", "ini", "caddyfile", "conf", "sql":
				if !strings.Contains(sources["files"], unindented(b.text)) {
					t.Errorf("%s: no file in deploy/ or recipes/ has these lines:\n%s", at, b.text)
				}
			default:
				t.Errorf("%s: nothing checks the language %q; text that needs no check is `text`", at, b.language)
			}
		}
	}
	if snippets < 100 {
		t.Errorf("only %d code blocks were found", snippets)
	}
}

// unindented has the lines without the space around them, so that a document may indent a snippet in its own way.
func unindented(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

var ellipses = strings.NewReplacer("{…}", "{}", "[…]", "[]", ": …", ": null", ",…", "", ", …", "")

// validJSON checks JSON values, one after the other, in which `…` may stand for what was left out.
func validJSON(source string) error {
	d := json.NewDecoder(strings.NewReader(ellipses.Replace(source)))
	for d.More() {
		var value any
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
	}
	return nil
}

// A flag or variable that a document names exists.
func TestFlagsOfDocuments(t *testing.T) {
	known := knownFlags(t)
	flagWord := regexp.MustCompile(`^--[a-z][a-z0-9-]*`)
	variable := regexp.MustCompile(`^FRESHET_[A-Z0-9_]+`)
	named := 0
	for _, d := range documents(t) {
		if d.name == "CHANGELOG.md" { // it may name what is gone
			continue
		}
		for _, span := range d.spans {
			word := flagWord.FindString(span)
			if v := variable.FindString(span); v != "" && !testVariables[v] {
				word = "--" + strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(v, "FRESHET_")), "_", "-")
			}
			if word == "" || otherFlags[word] {
				continue
			}
			if named++; !known[word] {
				t.Errorf("%s names `%s`, which is no flag of freshet", d.name, span)
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d flags were found", named)
	}
}

// otherFlags are flags of other programs that documents name.
var otherFlags = map[string]bool{"--json": true, "--commit": true} // of bench and deploy/release

// testVariables are variables of the tests.
var testVariables = map[string]bool{
	"FRESHET_REQUIRE_BROWSER": true, "FRESHET_REQUIRE_FAULTS": true, "FRESHET_REQUIRE_NCHAN": true, "FRESHET_REQUIRE_NODE": true, "FRESHET_REQUIRE_PROMTOOL": true, "FRESHET_REQUIRE_POSTGRES": true,
	"FRESHET_TEST_PARK": true,
}

var flagOfLine = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z0-9-]*)`)

// knownFlags are the flags in the program's help and in that of its commands.
func knownFlags(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, arguments := range [][]string{{"--help"}, {"token", "--help"}, {"publish", "--help"}, {"tail", "--help"}, {"doctor", "--help"}, {"healthcheck", "--help"}} {
		cmd, err := apptest.Command(t.Context(), arguments...)
		must(t, err)
		help, err := cmd.Output()
		must(t, err)
		for _, m := range flagOfLine.FindAllStringSubmatch(string(help), -1) {
			known[m[1]] = true
		}
	}
	return known
}
