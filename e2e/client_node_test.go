package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
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
				tests = append(tests, file)
			}
		}
	}
	if len(tests) < 5 {
		t.Fatalf("tests found: %q", tests)
	}
	node := exec.CommandContext(t.Context(), "node", append([]string{"--test"}, tests...)...)
	if output, err := node.CombinedOutput(); err != nil {
		t.Errorf("node --test: %v\n%s", err, output)
	}
}
