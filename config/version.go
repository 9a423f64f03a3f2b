package config

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// The linker sets these variables in releases and images, with -X freshet/config.version=v1.2.0.
var version, commit, date string

// Build says what the program was built from.
type Build struct {
	Version  string `json:"version"`          // such as v1.2.0, or a pseudo-version of Go; "(devel)" if it is unknown
	Commit   string `json:"commit,omitempty"` // full hash; empty if it is unknown
	Date     string `json:"date,omitempty"`   // of the commit, by RFC 3339; empty if it is unknown
	Go       string `json:"go"`               // such as go1.26.0
	Platform string `json:"platform"`         // such as linux/amd64
}

// String is one line for people, without the unknown parts.
func (b Build) String() string {
	text := "freshet " + b.Version
	if b.Commit != "" {
		text += fmt.Sprintf(", commit %.12s", b.Commit)
	}
	if day, _, _ := strings.Cut(b.Date, "T"); day != "" {
		text += ", " + day
	}
	return text + ", " + b.Go + ", " + b.Platform
}

// ThisBuild returns the build of the running program. What the linker did not set comes from the Go toolchain, which stamps the version of
// the module, and in a checkout of Git the commit.
func ThisBuild() Build {
	b := Build{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok && b == (Build{Go: b.Go, Platform: b.Platform}) {
		b.stamp(info)
	}
	b.Version = cmp.Or(b.Version, "(devel)")
	return b
}

// stamp sets what the Go toolchain knows. In a program that embeds Freshet, the version is that of the dependency, and the commit is not
// Freshet's.
func (b *Build) stamp(info *debug.BuildInfo) {
	const path = "freshet" // of this module
	if info.Main.Path != path {
		if i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == path }); i >= 0 {
			b.Version = info.Deps[i].Version
			if replace := info.Deps[i].Replace; replace != nil {
				b.Version = replace.Version
			}
		}
		return
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		}
	}
}

// Version holds the settings of the command that prints the build.
type Version struct {
	JSON bool `name:"json" group:"Output:" help:"Print one object: version, commit and its date, Go, platform."`
}

const versionOpening = `Usage: freshet version [flags]

Prints the version of Freshet, the commit and its date, the version of Go, and
the platform. A build without Git or a release knows only some of them.
`

// ParseVersion is [Parse] for the command that prints the build. No variable changes it, so it also works if one is wrong.
func ParseVersion(args []string, stdout io.Writer) (v Version, err error) {
	err = parse("freshet version", versionOpening, &v, args, nil, stdout)
	return v, err
}

func (*Version) validate() error { return nil }
