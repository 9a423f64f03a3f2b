package check_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"freshet/config"
)

// The linker's flags in the Dockerfile set what freshet version prints, with the arguments that the Dockerfile names.
func TestDockerfileStampsTheBuild(t *testing.T) {
	t.Parallel()
	flags := regexp.MustCompile(`-ldflags="([^"]*)"`).FindStringSubmatch(read(t, "Dockerfile"))
	if flags == nil {
		t.Fatal("the Dockerfile has no -ldflags")
	}
	want := config.Build{Version: "v1.2.0", Commit: "0123456789abcdef0123456789abcdef01234567", Date: "2026-12-01T10:00:00Z"}
	stamps := os.Expand(flags[1], func(name string) string {
		return map[string]string{"VERSION": want.Version, "COMMIT": want.Commit, "DATE": want.Date}[name]
	})
	program := filepath.Join(t.TempDir(), "main.go")
	must(t, os.WriteFile(program, []byte(`package main

import (
	"encoding/json"
	"os"

	"freshet/config"
)

func main() { _ = json.NewEncoder(os.Stdout).Encode(config.ThisBuild()) }
`), 0o600))
	cmd := exec.CommandContext(t.Context(), "go", "run", "-ldflags="+stamps, program)
	cmd.Stderr = t.Output()
	output, err := cmd.Output()
	must(t, err)
	var have config.Build
	must(t, json.Unmarshal(output, &have))
	want.Go, want.Platform = have.Go, have.Platform
	if have != want {
		t.Errorf("an image prints %+v, want %+v", have, want)
	}
}
