package e2e_test

import (
	"encoding/json"
	"go/ast"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/docs"
	"freshet/handlers"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

// apiDescription is docs/openapi.yaml, which is valid, with its examples.
func apiDescription(t *testing.T) *openapi3.T {
	t.Helper()
	api, err := openapi3.NewLoader().LoadFromData([]byte(docs.OpenAPI()))
	must(t, err)
	must(t, api.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaPatternValidation()))
	return api
}

// operations are the operations of the description, by method and path, such as "GET /event/{topic}".
func operations(api *openapi3.T) map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for path, item := range api.Paths.Map() {
		for method, operation := range item.Operations() {
			all[method+" "+path] = operation
		}
	}
	return all
}

// parametersOf are the parameters of an operation: its own, those of its path, and the credentials that it takes.
func parametersOf(api *openapi3.T, route string) map[string]*openapi3.Parameter {
	_, path, _ := strings.Cut(route, " ")
	operation := operations(api)[route]
	all := map[string]*openapi3.Parameter{}
	for _, ref := range slices.Concat(api.Paths.Find(path).Parameters, operation.Parameters) {
		all[ref.Value.In+" "+ref.Value.Name] = ref.Value
	}
	for _, requirement := range *operation.Security {
		for name := range requirement {
			if scheme := api.Components.SecuritySchemes[name].Value; scheme.Type == "apiKey" {
				all[scheme.In+" "+scheme.Name] = &openapi3.Parameter{In: scheme.In, Name: scheme.Name}
			}
		}
	}
	return all
}

// docs/openapi.yaml has each route, and no other. HEAD is where its description says: where GET is, except for event streams and backups.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	parameter := regexp.MustCompile(`[:*](\w+)`)
	var routes []string
	for _, route := range newInMemory(t, nil).router.Routes() {
		routes = append(routes, route.Method+" "+parameter.ReplaceAllString(route.Path, "{$1}"))
	}
	var described []string
	for route, operation := range operations(apiDescription(t)) {
		described = append(described, route)
		ok := operation.Responses.Status(http.StatusOK)
		if get, isGet := strings.CutPrefix(route, "GET"); isGet && ok.Value.Content["text/event-stream"] == nil && ok.Value.Content["application/zip"] == nil {
			described = append(described, "HEAD"+get)
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if diff := cmp.Diff(routes, described); diff != "" {
		t.Errorf("routes (-the program's +docs/openapi.yaml):\n%s", diff)
	}
}

// docs/openapi.yaml has the query parameters of each route, and no other.
func TestOpenAPIHasEveryParameter(t *testing.T) {
	t.Parallel()
	server, api := apptest.Start(t, t.TempDir(), ""), apiDescription(t)
	names := []string{"ticket"}
	for name := range handlers.PublicParameters() {
		names = append(names, name)
	}
	for route := range operations(api) {
		refuses := !takesParameter(t, server, route, "nonsense")
		if responses := operations(api)[route].Responses; refuses != (responses.Status(http.StatusBadRequest) != nil) {
			t.Errorf("%s refuses unknown parameters: %v", route, refuses)
		}
		parameters := parametersOf(api, route)
		for _, name := range names {
			takes, described := refuses && takesParameter(t, server, route, name), parameters["query "+name] != nil
			if id := parameters["query last_event_id"]; id != nil && strings.Contains(id.Description, "`"+name+"`") {
				described = true
			}
			if takes != described {
				t.Errorf("%s?%s: taken %v, described %v", route, name, takes, described)
			}
		}
		for key := range parameters {
			if name, query := strings.CutPrefix(key, "query "); query && !slices.Contains(names, name) {
				t.Errorf("%s: no route has the parameter %s", route, name)
			}
		}
	}
}

// docs/openapi.yaml has the request headers that the program reads, and the response headers that it sets, and no other.
func TestOpenAPIHasEveryHeader(t *testing.T) {
	t.Parallel()
	read, set := map[string]bool{}, map[string]bool{}
	constants := map[string]string{}
	calls := func(visit func(method string, call *ast.CallExpr)) {
		for _, file := range goFiles(t) {
			if file.test || !slices.Contains([]string{"handlers", "middleware", "stream"}, file.dir) {
				continue
			}
			ast.Inspect(file.syntax, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					for i, value := range n.Values {
						constants[n.Names[i].Name] = stringOf(value)
					}
				case *ast.CallExpr:
					if method, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) > 0 {
						visit(method.Sel.Name, n)
					}
				}
				return true
			})
		}
	}
	calls(func(string, *ast.CallExpr) {}) // finds the constants
	header := regexp.MustCompile(`^[A-Z][A-Za-z]*(-[A-Za-z]+)*$`)
	calls(func(method string, call *ast.CallExpr) {
		name := stringOf(call.Args[0])
		if constant, ok := call.Args[0].(*ast.Ident); ok {
			name = constants[constant.Name]
		}
		switch {
		case !header.MatchString(name) || name == "Allow": // which Gin sets
		case len(call.Args) == 1 && slices.Contains([]string{"GetHeader", "Get", "Values"}, method):
			read[http.CanonicalHeaderKey(name)] = true
		case len(call.Args) == 2 && slices.Contains([]string{"Header", "Set", "Add"}, method):
			set[http.CanonicalHeaderKey(name)] = true
		}
	})

	// OpenAPI has its own places for these, or HTTP clients and browsers send them by themselves.
	inBuilt := []string{"Accept", "Accept-Encoding", "Access-Control-Request-Method", "Authorization", "Content-Type", "Cookie", "Origin", "Sec-Fetch-Site"}
	// These are in every response, in a response to a HEAD or an OPTIONS, or describe the body.
	everywhere := []string{"Connection", "Content-Encoding", "Content-Length", "Content-Security-Policy", "Content-Type", "Referrer-Policy", "Vary", "X-Content-Type-Options"}
	api := apiDescription(t)
	describedRead, describedSet := map[string]bool{}, map[string]bool{}
	for _, name := range inBuilt {
		describedRead[name] = true
	}
	for _, name := range everywhere {
		describedSet[name] = true
	}
	for route, operation := range operations(api) {
		for key := range parametersOf(api, route) {
			if name, isHeader := strings.CutPrefix(key, "header "); isHeader && name != "If-None-Match" { // net/http reads it
				describedRead[http.CanonicalHeaderKey(name)] = true
			}
		}
		for _, response := range operation.Responses.Map() {
			for name := range response.Value.Headers {
				describedSet[http.CanonicalHeaderKey(name)] = true
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(read)), slices.Sorted(maps.Keys(describedRead))); diff != "" {
		t.Errorf("request headers (-the program's +docs/openapi.yaml):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(describedSet))); diff != "" {
		t.Errorf("response headers (-the program's +docs/openapi.yaml):\n%s", diff)
	}
}

// docs/openapi.yaml has each error of the program with its status, and no other.
func TestOpenAPIHasEveryError(t *testing.T) {
	t.Parallel()
	api := apiDescription(t)
	described := map[string]bool{"405 method_not_allowed": true} // what no described operation returns
	for _, operation := range operations(api) {
		for _, key := range describedErrors(t, operation) {
			described[key] = true
		}
	}
	program := errorsOfProgram(t)
	if diff := cmp.Diff(program, slices.Sorted(maps.Keys(described))); diff != "" {
		t.Errorf("errors (-the program's +docs/openapi.yaml):\n%s", diff)
	}
	codes := map[string]bool{}
	for _, key := range program {
		_, code, _ := strings.Cut(key, " ")
		codes[code] = true
	}
	var enum []string
	for _, code := range api.Components.Schemas["ErrorCode"].Value.Enum {
		enum = append(enum, code.(string))
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(codes)), enum); diff != "" {
		t.Errorf("codes (-the program's +ErrorCode):\n%s", diff)
	}
}

// describedErrors are the errors of the operation, as in "429 rate_limited".
func describedErrors(t *testing.T, operation *openapi3.Operation) (keys []string) {
	t.Helper()
	for status, response := range operation.Responses.Map() {
		body := response.Value.Content["application/json"]
		if body == nil || body.Schema.Ref != "#/components/schemas/Error" {
			continue
		}
		var schema struct {
			Properties struct {
				Error struct {
					Properties struct{ Code struct{ Enum []string } }
				}
			}
		}
		text, err := body.Schema.MarshalJSON() // the enum is beside the $ref
		must(t, err)
		must(t, json.Unmarshal(text, &schema))
		for _, code := range schema.Properties.Error.Properties.Code.Enum {
			keys = append(keys, status+" "+code)
		}
	}
	return keys
}
