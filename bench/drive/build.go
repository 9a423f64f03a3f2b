package drive

import (
	"context"
	"fmt"
	"os"
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

// Fresh starts the binary on an empty log in a folder of its own; flags are the server's. Without a binary it builds
// one, which works within the module. Calling end kills the server and removes the folder.
func Fresh(ctx context.Context, binary string, flags ...string) (s *Server, end func(), err error) {
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) } // what is left is in the system's folder for that
	if binary == "" {
		binary, err = Build(ctx, dir)
	}
	if err == nil {
		args := append([]string{"--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}, flags...)
		cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // the binary under test
		cmd.Env = Env()
		s, err = Start(cmd)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return s, func() {
		s.Kill()
		remove()
	}, nil
}
