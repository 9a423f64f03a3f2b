package main_test

import (
	"os"
	"testing"

	"golang.org/x/tools/go/packages"
)

// The source of Freshet and of all its modules has no errors on the platforms that TestRelease builds only in full size. That takes seconds, and
// builds take minutes.
func TestPlatforms(t *testing.T) {
	for _, platform := range [][2]string{{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"}} {
		loaded, err := packages.Load(&packages.Config{
			Context: t.Context(), Dir: "../..", Mode: packages.LoadAllSyntax,
			Env: append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOOS="+platform[0], "GOARCH="+platform[1]),
		}, ".")
		must(t, err)
		read := 0
		packages.Visit(loaded, nil, func(p *packages.Package) {
			read++
			for _, e := range p.Errors {
				t.Errorf("%v: %v", platform, e)
			}
		})
		if read < 300 {
			t.Errorf("%v: only %d packages were read", platform, read)
		}
	}
}
