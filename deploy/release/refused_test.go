package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// git runs Git in the folder, without the settings of the user.
func git(t *testing.T, folder string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}, args...)...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, output)
	}
}

// What the maintainer forgot is named, and nothing is written.
func TestReleaseRefuses(t *testing.T) {
	top := t.TempDir()
	must(t, os.CopyFS(filepath.Join(top, "deploy", "release"), os.DirFS(".")))
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(top, name), []byte(text), 0o600)) }
	write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n")
	git(t, top, "init", "-q")
	git(t, top, "add", ".")
	git(t, top, "commit", "-qm", "first")
	output := filepath.Join(t.TempDir(), "release")
	refused := func(want string, variables []string, args ...string) {
		t.Helper()
		if complaint := release(t, top, variables, args...); !strings.Contains(complaint, want) {
			t.Errorf("%q: the complaint is %q, want %q", args, complaint, want)
		}
		if _, err := os.Stat(output); err == nil {
			t.Errorf("%q: there is a release", args)
		}
	}
	to := []string{"--output", output}
	refused(`unexpected argument "dist": want flags only`, nil, "dist")
	refused(`"plan9/amd64" is not a platform: want some of [darwin/amd64 `, nil, append(to, "--only", "plan9/amd64")...)
	refused("has the tags []: want one, from git tag -s v1.2.0", nil, to...)
	refused(`the version "1.2" is not allowed: want three numbers, such as v1.2.0`, nil, append(to, "--version", "1.2")...)
	refused(`SOURCE_DATE_EPOCH is "": with --commit, want the date`, nil, append(to, "--version", "v1.2.0", "--commit", commit)...)
	refused(`--commit: "0123" is not allowed: want the full hash`, []string{"SOURCE_DATE_EPOCH=1"}, append(to, "--version", "v1.2.0", "--commit", "0123")...)
	git(t, top, "tag", "v1.2.0")
	refused("CHANGELOG.md has no heading for v1.2.0: rename Unreleased to v1.2.0", nil, to...)
	write("CHANGELOG.md", "# Changelog\n\n## v1.2.0\n")
	refused("the working tree has changes, so the commit does not say what would be built: commit or remove them:\n M CHANGELOG.md", nil, to...)
	git(t, top, "commit", "-qam", "second")
	git(t, top, "tag", "-f", "v1.2.0")
	write("go.mod", "module freshet\n\ngo 1.26.0\n\ntoolchain go1.26.1\n")
	git(t, top, "add", ".")
	git(t, top, "commit", "-qm", "third")
	refused("and another version of Go builds other bytes: set GOTOOLCHAIN=go1.26.1, as go.mod names it", nil, append(to, "--version", "v1.2.0")...)
	must(t, os.Mkdir(output+"-old", 0o700))
	if complaint := release(t, "../..", []string{"SOURCE_DATE_EPOCH=1"}, "--version", "v1.2.0", "--commit", commit, "--output", output+"-old"); !strings.Contains(complaint, "-old is there already: remove it") {
		t.Errorf("the complaint is %q", complaint)
	}
}
