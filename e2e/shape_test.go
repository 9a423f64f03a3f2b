package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ours is every package of this module.
const ours = "freshet"

var (
	ginPackages  = []string{"github.com/gin-gonic", "github.com/gin-contrib"}
	natsPackages = []string{"github.com/nats-io"}
	// The parts count for themselves, and metrics reads their counts.
	prometheusPackages = []string{"github.com/prometheus"}
	// Only app, middleware, config and tracing know OpenTelemetry.
	otelPackages = []string{"go.opentelemetry.io"}
)

// neverImports has, for each top-level folder with Go code, the import paths that its packages keep out of their non-test files,
// with everything below these paths. It is the table of the design: a new folder gets a line here and in CONTRIBUTING.md.
var neverImports = map[string][]string{
	".":           slices.Concat(ginPackages, natsPackages),
	"app":         {},
	"assets":      {ours},
	"auth":        slices.Concat(ginPackages, []string{ours + "/hub", ours + "/eventlog"}),
	"bench":       {}, // a module of its own
	"certificate": slices.Concat(ginPackages, natsPackages, []string{ours}),
	"client":      slices.Concat(ginPackages, natsPackages, otelPackages, everyRoomBut("event")),
	"config":      ginPackages,
	"deploy":      {}, // modules of their own
	"docs":        {ours},
	"doctor":      slices.Concat(ginPackages, natsPackages, everyRoomBut("event")),
	"e2e":         {}, // only tests
	"event":       slices.Concat(ginPackages, natsPackages, prometheusPackages, otelPackages, []string{"net/http", ours}),
	"eventlog":    slices.Concat(ginPackages, prometheusPackages, otelPackages, []string{ours + "/hub", ours + "/handlers"}),
	"examples":    natsPackages,
	"faults":      {}, // only tests
	"handlers":    slices.Concat(natsPackages, prometheusPackages, otelPackages, []string{ours + "/middleware"}),
	"hub":         slices.Concat(ginPackages, prometheusPackages, otelPackages, []string{"net/http", ours + "/eventlog"}),
	"limit":       slices.Concat(ginPackages, natsPackages, []string{ours}),
	"metrics":     ginPackages,
	"middleware":  {ours + "/hub", ours + "/eventlog", ours + "/handlers"},
	"nearest":     slices.Concat(ginPackages, natsPackages, []string{"net/http", ours}),
	"recipes":     {}, // a module of its own
	"relay":       slices.Concat(ginPackages, []string{ours + "/hub"}),
	"ssetest":     slices.Concat(ginPackages, natsPackages, everyRoomBut("doctor")), // and event
	"stream":      slices.Concat(ginPackages, prometheusPackages, otelPackages, []string{ours + "/eventlog"}),
	"templates":   {ours},
	"ticket":      slices.Concat(ginPackages, natsPackages, []string{ours + "/hub", ours + "/eventlog"}),
	"tracing":     slices.Concat(ginPackages, natsPackages, everyRoomBut("limit")), // and event
}

// everyRoomBut returns the import paths of all folders of neverImports but one.
func everyRoomBut(allowed string) (paths []string) {
	for _, folder := range []string{"app", "assets", "auth", "certificate", "config", "docs", "doctor", "eventlog", "handlers", "hub", "limit", "metrics", "middleware", "nearest",
		"relay", "ssetest", "stream", "templates", "ticket", "tracing"} {
		if folder != allowed {
			paths = append(paths, ours+"/"+folder)
		}
	}
	return paths
}

// namesThatSayNothing are no names for a package: they say nothing of what it owns.
var namesThatSayNothing = []string{"util", "utils", "common", "types", "helpers", "misc", "shared"}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, file := range goFiles(t) {
		if file.test {
			continue
		}
		folder, _, _ := strings.Cut(file.dir, "/")
		forbidden, known := neverImports[folder]
		if !known {
			t.Errorf("%s: the folder %s has no import rule yet", file.path, folder)
			continue
		}
		for _, spec := range file.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if inside(imported, ours+"/"+folder) {
				continue
			}
			if inside(imported, ours+"/bench") {
				t.Errorf("%s imports %s, which is a module of its own that nothing imports", file.path, imported)
			}
			for _, p := range forbidden {
				if inside(imported, p) {
					t.Errorf("%s imports %s, which %s/ never does", file.path, imported, folder)
				}
			}
		}
	}
}

// CONTRIBUTING.md tells the reader about every folder with Go code.
func TestContributingHasEveryFolder(t *testing.T) {
	table := regexp.MustCompile("(?m)^\\| `([a-z0-9.]+)/?`.* \\| .+ \\|$")
	named := map[string]bool{".": true}
	for _, row := range table.FindAllStringSubmatch(read(t, "CONTRIBUTING.md"), -1) {
		named[row[1]] = true
	}
	for _, file := range goFiles(t) {
		if folder, _, _ := strings.Cut(file.dir, "/"); !named[folder] {
			named[folder] = true
			t.Errorf("CONTRIBUTING.md has no row for the folder %s", folder)
		}
	}
	for folder := range neverImports {
		if !named[folder] {
			t.Errorf("CONTRIBUTING.md has no row for the folder %s", folder)
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{} // by folder, the files that hold one
	for _, file := range goFiles(t) {
		if file.test {
			continue
		}
		if slices.Contains(namesThatSayNothing, file.syntax.Name.Name) {
			t.Errorf("%s: package %s: name it for what it owns", file.path, file.syntax.Name.Name)
		}
		found := comments[file.dir]
		if file.syntax.Doc != nil {
			found = append(found, path.Base(file.path))
		}
		comments[file.dir] = found // also if it is none
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("the folder %s has %d package comments, want one; in %q", dir, len(files), files)
		}
	}
}

// Waiting for real time makes tests slow, or fail where the machine is slow. Inside synctest.Test, time is not real.
func TestTestsDoNotSleep(t *testing.T) {
	for _, file := range goFiles(t) {
		if !file.test {
			continue
		}
		ast.Inspect(file.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			switch {
			case !ok:
				return true
			case calls(call, "synctest", "Test"):
				return false
			case calls(call, "time", "Sleep"):
				t.Errorf("%s sleeps in real time", file.at(call.Pos()))
			}
			return true
		})
	}
}

// A promise is as good as its test: each that is named is there.
func TestPromisesAreHeldByTests(t *testing.T) {
	there := proofs(t)
	name := regexp.MustCompile("`(Test|Fuzz|go run )[^`]+`")
	for _, page := range []string{"docs/guarantees.md", "docs/stability.md"} {
		promises := 0
		for line := range strings.Lines(read(t, page)) {
			columns := strings.Split(line, "|")
			if len(columns) != 5 || strings.HasPrefix(columns[1], "-") || columns[1] == " Promise " {
				continue
			}
			promises++
			tests := name.FindAllString(columns[3], -1)
			if len(tests) == 0 {
				t.Errorf("%s: nothing holds the promise%s", page, columns[1])
			}
			for _, test := range tests {
				if !there[test] {
					t.Errorf("%s: %s is not there, of the promise%s", page, test, columns[1])
				}
			}
		}
		if promises < 10 {
			t.Errorf("%s: only %d promises were found", page, promises)
		}
	}
}

// So is a defence.
func TestDefencesAreHeldByTests(t *testing.T) {
	there, named := proofs(t), map[string]bool{}
	for _, test := range regexp.MustCompile("`(Test|Fuzz)[A-Z][^`]*`").FindAllString(read(t, "docs/security.md"), -1) {
		if named[test] = true; !there[test] {
			t.Errorf("docs/security.md: %s is not there", test)
		}
	}
	if len(named) < 20 {
		t.Errorf("docs/security.md names only %d tests", len(named))
	}
}

// proofs are the names of all tests, and the commands of bench/, as documents have them.
func proofs(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	for _, file := range goFiles(t) {
		for _, decl := range file.syntax.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && file.test {
				there["`"+f.Name.Name+"`"] = true
			}
		}
	}
	command := regexp.MustCompile("(?m)^\t([A-Z][a-z]+) .*`cmd:\"\"")
	for _, m := range command.FindAllStringSubmatch(read(t, "bench/main.go"), -1) {
		there["`go run -C bench . "+strings.ToLower(m[1])+"`"] = true
	}
	return there
}

// goFile is a parsed file of this module.
type goFile struct {
	path   string // with slashes, from the top
	dir    string
	test   bool
	syntax *ast.File
	fset   *token.FileSet
}

func (f goFile) at(pos token.Pos) string { return f.fset.Position(pos).String() }

// goFiles are all Go files but those that the go command does not look at.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		hidden := name != top && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "node_modules")
		switch {
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden || filepath.Ext(base) != ".go":
			return nil
		}
		fset := token.NewFileSet()
		syntax, errParse := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(rel)
		files = append(files, goFile{slashed, path.Dir(slashed), strings.HasSuffix(base, "_test.go"), syntax, fset})
		return errParse
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		seen[file.dir] = true
	}
	if !seen["."] || !seen["event"] || !seen["handlers"] {
		t.Fatalf("the walk missed packages, it saw %q", slices.Sorted(maps.Keys(seen)))
	}
	return files
}

func inside(imported, p string) bool {
	return imported == p || strings.HasPrefix(imported, p+"/")
}

func calls(call *ast.CallExpr, pkg, name string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name == pkg && selector.Sel.Name == name
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
