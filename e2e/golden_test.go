package e2e_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files in testdata/, and the tables of docs/configuration.md")

// golden compares text with a file in testdata/, which holds a promise of docs/stability.md.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		return
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("e2e/%s has changed. docs/stability.md says what may change. If this change may, run go test ./e2e -run %s -update (-file +program):\n%s", file, t.Name(), diff)
	}
}
