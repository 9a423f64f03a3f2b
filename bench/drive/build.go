package drive

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds the server into the folder and returns the path of the program. It is
// called within the module; flags are those of go build.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "freshet")
	args := append([]string{"build", "-o", binary}, flags...)
	out, err := exec.CommandContext(ctx, "go", append(args, "freshet")...).CombinedOutput() //nolint:gosec // the caller's flags
	if err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return binary, nil
}
