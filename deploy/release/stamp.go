package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// stamp is what the binaries say of their source: see freshet version.
type stamp struct {
	version string // as semantic versioning has it, with a leading v
	commit  string // full hash
	date    time.Time
}

var hash = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// stampOf asks Git for what is not given: the version is the tag of the commit, and the date is the commit's.
func stampOf(ctx context.Context, source, version, commit, epoch string) (s stamp, err error) {
	s = stamp{version: version, commit: commit}
	if commit == "" {
		if s, epoch, err = stampOfGit(ctx, source, version); err != nil {
			return s, err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	s.date = time.Unix(seconds, 0).UTC()
	return s, cmp.Or(
		refuse(err != nil, "SOURCE_DATE_EPOCH is %q: with --commit, want the date of the commit, as git log -1 --format=%%ct prints it", epoch),
		refuse(!hash.MatchString(s.commit), "--commit: %q is not allowed: want the full hash", s.commit),
		refuse(semver.Canonical(s.version) != s.version || s.version == "", "the version %q is not allowed: want three numbers, such as v1.2.0 or v1.2.0-rc.1", s.version),
	)
}

func stampOfGit(ctx context.Context, source, version string) (s stamp, epoch string, err error) {
	git := func(args ...string) string {
		text, failed := output(ctx, source, nil, "git", args...)
		err = cmp.Or(err, failed)
		return strings.TrimRight(string(text), "\n")
	}
	s = stamp{version: version, commit: git("rev-parse", "HEAD")}
	epoch = git("log", "-1", "--format=%ct")
	changes, tags := git("status", "--porcelain"), strings.Fields(git("tag", "--points-at", "HEAD", "--list", "v*"))
	switch {
	case err != nil:
		return s, "", err
	case changes != "":
		return s, "", fmt.Errorf("the working tree has changes, so the commit does not say what would be built: commit or remove them:\n%s", changes)
	case version != "":
		return s, epoch, nil
	case len(tags) != 1:
		return s, "", fmt.Errorf("the commit %.12s has the tags %q: want one, from git tag -s v1.2.0, or name the version with --version", s.commit, tags)
	}
	s.version = tags[0]
	changelog, err := os.ReadFile(filepath.Join(source, "CHANGELOG.md"))
	if err == nil && !regexp.MustCompile(`(?m)^## `+regexp.QuoteMeta(s.version)+`( |$)`).Match(changelog) {
		err = fmt.Errorf("CHANGELOG.md has no heading for %[1]s: rename Unreleased to %[1]s, commit, and set the tag again", s.version)
	}
	return s, epoch, err
}

func refuse(bad bool, format string, args ...any) error {
	if !bad {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// output returns what a command prints. env nil is the environment of this program.
func output(ctx context.Context, folder string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // go, git, or the program that was built
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = folder, env, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("%s is not in the PATH: install it", name)
		}
		return nil, fmt.Errorf("%s %s: %w\n%s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
