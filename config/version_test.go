package config_test

import (
	"bytes"
	"errors"
	"testing"

	"freshet/config"
)

// The words, without what depends on how the tests were built.
func TestBuildInWords(t *testing.T) {
	for want, b := range map[string]config.Build{
		"freshet (devel), go1.26.0, linux/arm64": {Version: "(devel)", Go: "go1.26.0", Platform: "linux/arm64"},
		"freshet v1.2.0, commit 0123456789ab, 2026-11-27, go1.26.0, windows/amd64": {
			Version: "v1.2.0", Commit: "0123456789abcdef0123456789abcdef01234567", Date: "2026-11-27T04:19:36Z", Go: "go1.26.0", Platform: "windows/amd64"},
		"freshet v1.2.0, commit 01, today, go1.26.0, linux/arm64": {Version: "v1.2.0", Commit: "01", Date: "today", Go: "go1.26.0", Platform: "linux/arm64"},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v is %q, want %q", b, got, want)
		}
	}
}

func TestVersion(t *testing.T) {
	var stdout bytes.Buffer
	_, err := config.Parse([]string{"--version"}, nil, &stdout)
	if !errors.Is(err, config.ErrPrinted) {
		t.Errorf("got %v, want ErrPrinted", err)
	}
	if got, want := stdout.String(), config.ThisBuild().String()+"\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
