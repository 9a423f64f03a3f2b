package e2e_test

import (
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// everything stands for all exported names of a package.
var everything []string

// goAPI has the names that docs/stability.md promises, by package. Methods and fields belong to their type.
var goAPI = map[string][]string{
	"app":    {"App", "ErrClosed", "Message", "NewServer", "Open", "Ticket"},
	"client": everything,
	"auth":   {"ErrForbidden", "ErrUnauthenticated", "Grant"},
	"config": {"Bytes", "Config", "Default", "Relay", "Retry", "Secret", "Sync"},
	"event": {
		"All", "Event", "Frame", "Gap", "GapEpoch", "GapExpired", "GapReason", "GapUnknown", "ID", "InvalidError", "New", "ParseID", "ParsePattern", "ParsePatterns", "ParseTopic", "ParseType",
		"Pattern", "Patterns", "Topic", "Type", "TypeOf",
	},
	"eventlog": {"ErrEnded", "ErrFull", "ErrRenewed", "ErrTooLarge", "ErrUnavailable"},
	"ssetest":  everything,
	"stream":   {"ConnContext"},
}

// Programs that use these names compile with later versions too.
func TestGoAPI(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, file := range goFiles(t) {
		names, public := goAPI[file.dir]
		if file.test || !public {
			continue
		}
		promised := func(name string) bool { return ast.IsExported(name) && (names == nil || slices.Contains(names, name)) }
		for _, decl := range file.syntax.Decls {
			lines = append(lines, declared(file, decl, promised)...)
		}
	}
	slices.Sort(lines)
	golden(t, "api.golden", strings.Join(slices.Compact(lines), "\n")+"\n")
}

// declared is what a declaration promises, one name in each line.
func declared(file goFile, decl ast.Decl, promised func(name string) bool) (lines []string) {
	pkg := file.syntax.Name.Name + "."
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		signature := strings.TrimPrefix(source(file.fset, decl.Type), "func")
		if decl.Recv == nil {
			if promised(decl.Name.Name) {
				lines = append(lines, "func "+pkg+decl.Name.Name+signature)
			}
			break
		}
		receiver := source(file.fset, decl.Recv.List[0].Type)
		if promised(strings.TrimPrefix(receiver, "*")) && decl.Name.IsExported() {
			lines = append(lines, "method "+pkg+strings.TrimPrefix(receiver, "*")+"."+decl.Name.Name+signature)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					if promised(n.Name) {
						lines = append(lines, decl.Tok.String()+" "+pkg+n.Name)
					}
				}
			case *ast.TypeSpec:
				if promised(spec.Name.Name) {
					lines = append(lines, declaredType(file.fset, pkg+spec.Name.Name, spec)...)
				}
			}
		}
	}
	return lines
}

// declaredType is the type, and a line for each exported field or method of an interface.
func declaredType(fset *token.FileSet, name string, spec *ast.TypeSpec) (lines []string) {
	var members *ast.FieldList
	var kind string
	switch t := spec.Type.(type) {
	case *ast.StructType:
		kind, members = "struct", t.Fields
	case *ast.InterfaceType:
		kind, members = "interface", t.Methods
	default:
		kind, members = source(fset, t), &ast.FieldList{}
	}
	lines = append(lines, "type "+name+" "+kind)
	for _, member := range members.List {
		text := source(fset, member.Type)
		names := member.Names
		if names == nil { // embedded: it has the name of its type
			names = []*ast.Ident{ast.NewIdent(text[strings.LastIndexAny(text, ".*")+1:])}
		}
		for _, n := range names {
			if n.IsExported() {
				lines = append(lines, fmt.Sprintf("field %s.%s %s", name, n.Name, text))
			}
		}
	}
	return lines
}

// source is the source of a node on one line.
func source(fset *token.FileSet, node ast.Node) string {
	var text strings.Builder
	_ = (&printer.Config{Mode: printer.RawFormat}).Fprint(&text, fset, node) // a strings.Builder takes everything
	return strings.Join(strings.Fields(text.String()), " ")
}
