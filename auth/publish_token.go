package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// PublishTokenFile is the path of the file that [PublishToken] keeps the token of dir in.
func PublishTokenFile(dir string) string { return filepath.Join(dir, "publish-token") }

// PublishToken returns the token in the file publish-token of dir. If there is none, it creates the folder (mode 0700) and a random token
// (mode 0600). The file is never incomplete, and processes that start together all return the same token.
func PublishToken(dir string) (string, error) {
	path := PublishTokenFile(dir)
	token, err := readToken(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = writeToken(path); err == nil {
			token, err = readToken(path) // another process may have been faster
		}
	}
	if err != nil {
		return "", fmt.Errorf("publish token: %w", err)
	}
	return token, nil
}

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	// The group may read: Kubernetes gives the files of a volume to the pod's group (fsGroup) at every mount. Windows has no modes.
	if info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%s is open to every user (mode %#o): chmod 600 it, or delete it for a new token if somebody may have read it",
			path, info.Mode().Perm())
	}
	const bound = 4096 // bytes, in case it is some other file
	text, err := io.ReadAll(io.LimitReader(file, bound))
	if err != nil {
		return "", err
	}
	token := strings.TrimRight(string(text), "\r\n")
	if CheckPublishToken(token) != nil || len(text) == bound {
		return "", fmt.Errorf("%s is empty or malformed (want at least 16 printable ASCII characters and no space): delete it for a new token", path)
	}
	return token, nil
}

// writeToken does nothing if the file exists.
func writeToken(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "publish-token-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	_, err = temp.WriteString(base64.RawURLEncoding.EncodeToString(random) + "\n")
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// A link fails if the name exists; a rename would replace the token of another process.
	if err := os.Link(temp.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
