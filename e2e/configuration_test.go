package e2e_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"freshet/config"

	"github.com/google/go-cmp/cmp"
)

// docs/configuration.md has every flag, as the help has it. The help owns the words.
func TestConfigurationHasEveryFlag(t *testing.T) {
	const page = "docs/configuration.md"
	want, group := "", ""
	cell := strings.NewReplacer("*", `\*`, "|", `\|`, "<", "&lt;")
	code := func(text string) string {
		if text == "" {
			return ""
		}
		return "`" + text + "`"
	}
	for field := range reflect.TypeFor[config.Config]().Fields() {
		if field.Tag.Get("kong") == "-" { // only for programs that embed the server
			continue
		}
		tag := field.Tag
		if g := strings.TrimSuffix(tag.Get("group"), ":"); g != group {
			group = g
			want += "\n## " + group + "\n\n| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n"
		}
		variable := "FRESHET_" + strings.ToUpper(strings.ReplaceAll(tag.Get("name"), "-", "_"))
		want += "| " + strings.Join([]string{code("--" + tag.Get("name")), code(variable), code(tag.Get("default")), cell.Replace(tag.Get("help"))}, " | ") + " |\n"
	}
	introduction, tables, _ := strings.Cut(read(t, page), "\n## Serving\n")
	if *update {
		must(t, os.WriteFile(filepath.Join(top, page), []byte(introduction+want), 0o600))
		return
	}
	if diff := cmp.Diff(want, "\n## Serving\n"+tables); diff != "" {
		t.Errorf("%s differs from the program's help; go test ./e2e -run ConfigurationHasEveryFlag -update rewrites it (-help +page):\n%s", page, diff)
	}
}
