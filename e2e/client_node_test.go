package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The logic of the client module is tested by Node.js, in fake time.
func TestClientModuleInNode(t *testing.T) {
	t.Parallel()
	requireNode(t, "node")
	assets := filepath.Join(top, "assets")
	var tests []string
	for _, pattern := range []string{"*.js*", "freshet/*.js", "test/*.js"} {
		files, err := filepath.Glob(filepath.Join(assets, pattern))
		must(t, err)
		for _, file := range files {
			// What the test has not opened itself, the cache of go test does not notice when it changes.
			_, err := os.ReadFile(file)
			must(t, err)
			if is, err := filepath.Match("*.test.js", filepath.Base(file)); err == nil && is {
				file, err := filepath.Abs(file)
				must(t, err)
				tests = append(tests, file)
			}
		}
	}
	if len(tests) < 5 {
		t.Fatalf("tests found: %q", tests)
	}
	// One process for all of them: node --test would start one for each file.
	node := exec.CommandContext(t.Context(), "node", append([]string{"--input-type=module", "--eval", `for (const file of process.argv.slice(1)) await import(file)`}, tests...)...)
	output, err := node.CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^# pass [1-9]`).Match(output) {
		t.Errorf("node: %v\n%s", err, output)
	}
}
