package auth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"freshet/auth"

	"github.com/google/go-cmp/cmp"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestPublishTokenIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on demand")
	first, err := auth.PublishToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(first) {
		t.Errorf("%q is not 32 bytes in base64url", first)
	}
	if again, err := auth.PublishToken(dir); err != nil || again != first {
		t.Errorf("second start: %q, %v; want %q", again, err, first)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "publish-token"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	if diff := cmp.Diff([]string{"publish-token"}, names(t, dir)); diff != "" {
		t.Errorf("left in the folder: %s", diff)
	}
	if other, err := auth.PublishToken(t.TempDir()); err != nil || other == first {
		t.Errorf("another folder: %q, %v; want another token than %q", other, err, first)
	}
	if _, err := auth.New(auth.Config{PublishToken: first}); err != nil {
		t.Errorf("New refuses the token: %v", err)
	}
}

func TestPublishTokenOfStartersAtOnce(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "data")
		tokens := make([]string, 8)
		var starters sync.WaitGroup
		for i := range tokens {
			starters.Go(func() {
				var err error
				if tokens[i], err = auth.PublishToken(dir); err != nil {
					t.Error(err)
				}
			})
		}
		starters.Wait()
		for _, token := range tokens {
			if token == "" || token != tokens[0] {
				t.Fatalf("starters disagree: %q", tokens)
			}
		}
		if diff := cmp.Diff([]string{"publish-token"}, names(t, dir)); diff != "" {
			t.Errorf("left in the folder: %s", diff)
		}
	}
}

func TestPublishTokenOfTheOperator(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "publish-token")
	for _, mode := range []os.FileMode{0o400, 0o600, 0o640, 0o660} {
		if err := os.WriteFile(path, []byte(token+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got, err := auth.PublishToken(dir); err != nil || got != token {
			t.Errorf("mode %#o: %q, %v; want %q", mode, got, err, token)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublishTokenRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"empty":           {"", 0o600, "is empty or malformed"},
		"blank":           {"\n\n", 0o600, "is empty or malformed"},
		"short":           {"secret\n", 0o600, "is empty or malformed"},
		"two lines":       {token + "\n" + token + "\n", 0o600, "is empty or malformed"},
		"endless":         {strings.Repeat(token, 1000), 0o600, "is empty or malformed"},
		"space":           {"correct horse battery\n", 0o600, "is empty or malformed"},
		"binary":          {strings.Repeat("\x00", 32), 0o600, "is empty or malformed"},
		"read by others":  {token, 0o644, "open to every user (mode 0644): chmod 600"},
		"write by others": {token, 0o602, "open to every user (mode 0602): chmod 600"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "publish-token")
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		got, err := auth.PublishToken(dir)
		if got != "" || err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) ||
			!strings.Contains(err.Error(), "delete it") {
			t.Errorf("%s: %q, %v; want an error with %q, the path and what to do", name, got, err, test.want)
		} else if test.content != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
		if content, err := os.ReadFile(path); err != nil || string(content) != test.content {
			t.Errorf("%s: the refused file was changed to %q, %v", name, content, err)
		}
	}
}

func TestPublishTokenWithoutFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := auth.PublishToken(filepath.Join(file, "data")); err == nil || got != "" {
		t.Errorf("got %q, %v; want an error", got, err)
	}
}
