package e2e_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/handlers"

	"github.com/google/go-cmp/cmp"
)

// docs/http-api.md has each error of the program with its status, and no other.
func TestEveryErrorIsDocumented(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| (\\d{3}) \\| (`.*?`) \\| .+ \\| .+ \\|$")
	code := regexp.MustCompile("`([a-z_]+)`")
	var documented []string
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/http-api.md"), -1) {
		for _, c := range code.FindAllStringSubmatch(m[2], -1) {
			documented = append(documented, m[1]+" "+c[1])
		}
	}
	slices.Sort(documented)
	if diff := cmp.Diff(errorsOfProgram(t), documented); diff != "" {
		t.Errorf("errors (-the program's +docs/http-api.md):\n%s", diff)
	}
}

// docs/http-api.md has the query parameters of each route, and no other.
func TestEveryParameterIsDocumented(t *testing.T) {
	t.Parallel()
	server := apptest.Start(t, t.TempDir(), "")
	names := []string{"ticket"}
	for name := range handlers.PublicParameters() {
		names = append(names, name)
	}
	row := regexp.MustCompile("(?m)^\\| (`(?:GET|POST|DELETE) [^|]+) \\| [^|]+ \\|([^|]*)\\|[^|]*\\|$")
	span := regexp.MustCompile("`([^`]+)`")
	routes := 0
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/http-api.md"), -1) {
		for _, route := range span.FindAllStringSubmatch(m[1], -1) {
			if takesParameter(t, server, route[1], "nonsense") {
				if m[2] != " " {
					t.Errorf("%s takes any parameter, but is documented with%s", route[1], m[2])
				}
				continue
			}
			routes++
			for _, name := range names {
				documented := strings.Contains(m[2], "`"+name+"`") ||
					strings.Contains(m[2], "`last_event_id`") && slices.Contains([]string{"lastEventId", "lastEventID", "Last-Event-ID"}, name)
				takes := takesParameter(t, server, route[1], name)
				if takes != documented {
					t.Errorf("%s?%s: documented %v, but taken %v", route[1], name, documented, takes)
				}
			}
		}
	}
	if routes != 13 {
		t.Errorf("%d routes refuse an unknown parameter", routes)
	}
}

// takesParameter reports whether the server takes the query parameter on the route, such as "GET /event/{topic}".
func takesParameter(t *testing.T, server *apptest.Server, route, parameter string) bool {
	t.Helper()
	if route == "POST /event" && (parameter == "type" || parameter == "ttl") { // its error says that these are fields there
		return false
	}
	method, path, _ := strings.Cut(strings.NewReplacer("{topic}", "news", "{id}", "x", "{name}", "freshet.js").Replace(route), " ")
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path+"?"+parameter+"=x", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+server.Token)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }() // of a stream, the rest does not matter
	var body struct{ Error struct{ Code string } }
	if response.StatusCode == http.StatusBadRequest {
		must(t, json.NewDecoder(response.Body).Decode(&body))
	}
	return body.Error.Code != "unknown_parameter"
}

// errorsOfProgram returns the status and code of each error, sorted. In the source, the code comes right after the status: in a table, in the
// arguments of a call, or in the results of a function. The code of an event.InvalidError has the field's name.
func errorsOfProgram(t *testing.T) []string {
	t.Helper()
	statuses := map[string]int{}
	for status := 400; status < 600; status++ {
		statuses["Status"+strings.ReplaceAll(http.StatusText(status), " ", "")] = status
	}
	codeText := regexp.MustCompile(`^[a-z_]+$`)
	found := map[string]bool{}
	addCodes := func(list []ast.Expr) {
		for i, expr := range list[:max(0, len(list)-1)] {
			status, isName := expr.(*ast.SelectorExpr)
			next := list[i+1]
			if problem, isProblem := next.(*ast.CompositeLit); isProblem && len(problem.Elts) > 0 {
				next = problem.Elts[0]
			}
			if code := stringOf(next); isName && statuses[status.Sel.Name] > 0 && codeText.MatchString(code) {
				found[fmt.Sprint(statuses[status.Sel.Name], " ", code)] = true
			}
		}
	}
	addField := func(field string) {
		if field != "" && field != "id" { // an invalid ID is a gap, and no error
			found["400 invalid_"+strings.ReplaceAll(strings.ToLower(field), "-", "_")] = true
		}
	}
	for _, file := range goFiles(t) {
		if file.test || !slices.Contains([]string{"auth", "event", "handlers", "middleware", "ticket"}, file.dir) {
			continue
		}
		ast.Inspect(file.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				addCodes(n.Elts)
			case *ast.ReturnStmt:
				addCodes(n.Results)
			case *ast.CallExpr:
				addCodes(n.Args)
				if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "invalid" {
					addField(stringOf(n.Args[0]))
				}
			case *ast.KeyValueExpr:
				if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Field" {
					addField(stringOf(n.Value))
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

// stringOf is the value of a string literal; empty for anything else.
func stringOf(expr ast.Expr) string {
	literal, ok := expr.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(literal.Value) // the parser has accepted it
	return text
}

// A page of another origin can read why its request was refused.
func TestPagesReadErrors(t *testing.T) {
	t.Parallel()
	a := apptest.Wire(t, io.Discard)
	w := a.Do("GET", "/event?topics=news", "", "Origin", "https://app.example", "Accept", "text/event-stream")
	if w.Code != http.StatusBadRequest || w.Header().Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(w.Body.String(), `did you mean \"topic\"?`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}
