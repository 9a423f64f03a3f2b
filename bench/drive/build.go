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

// Fresh builds the server into a folder of its own and starts it there, on an empty log. It is
// called within the module; flags are the server's. The end kills it and removes the folder.
func Fresh(ctx context.Context, flags ...string) (s *Server, end func(), err error) {
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) } // what is left is in the system's folder for that
	binary, err := Build(ctx, dir)
	if err == nil {
		args := append([]string{"--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}, flags...)
		cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // just built
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
