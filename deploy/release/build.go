package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// builder builds the program for one platform after the other.
type builder struct {
	source  string
	tmp     string // folder for the program
	stamp   stamp
	env     []string
	goroot  string
	ldflags string
}

// newBuilder takes nothing from the caller's environment that changes what is built: only where modules come from, and the caches.
func newBuilder(ctx context.Context, source string, s stamp) (*builder, error) {
	var module struct{ Toolchain string }
	text, err := output(ctx, source, nil, "go", "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &module); err != nil {
		return nil, err
	}
	if runtime.Version() != module.Toolchain {
		return nil, fmt.Errorf("this is %s, and another version of Go builds other bytes: set GOTOOLCHAIN=%s, as go.mod names it", runtime.Version(), module.Toolchain)
	}
	var settings map[string]string
	text, err = output(ctx, source, nil, "go", "env", "-json", "GOAUTH", "GOCACHE", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOPATH", "GOPRIVATE", "GOPROXY", "GOSUMDB")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GO") || strings.HasPrefix(v, "CGO_") })
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	env = append(env, "GOENV=off", "GOWORK=off", "GOTOOLCHAIN="+module.Toolchain, "CGO_ENABLED=0")
	root, err := output(ctx, source, env, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "freshet-release-")
	if err != nil {
		return nil, err
	}
	return &builder{
		source: source, tmp: tmp, stamp: s, env: env, goroot: strings.TrimSpace(string(root)),
		// The linker's build ID stays: macOS identifies a program by the UUID that is made from it.
		ldflags: fmt.Sprintf("-s -w -X freshet/config.version=%s -X freshet/config.commit=%s -X freshet/config.date=%s",
			s.version, s.commit, s.date.Format(time.RFC3339)),
	}, nil
}

func (b *builder) environment(p platform) []string {
	return append(slices.Clone(b.env), "GOOS="+p.os, "GOARCH="+p.arch)
}

// build builds the program for the platform, and returns its path.
func (b *builder) build(ctx context.Context, p platform) (binary string, err error) {
	binary = filepath.Join(b.tmp, fmt.Sprintf("freshet-%s-%s.exe", p.os, p.arch)) // the ending matters on Windows alone
	_, err = output(ctx, b.source, b.environment(p), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags="+b.ldflags, "-o", binary, ".")
	return binary, err
}

// completions asks the program for them. For that, it is built for this machine.
func (b *builder) completions(ctx context.Context) (files []file, err error) {
	program, err := b.build(ctx, platform{runtime.GOOS, runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	for shell, name := range map[string]string{"bash": "freshet.bash", "zsh": "_freshet", "fish": "freshet.fish"} {
		text, err := output(ctx, b.tmp, []string{}, program, "completion", shell)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: "completions/" + name, data: text})
	}
	return files, nil
}

// licences returns the licences of Go and of all modules that the program for the platform contains, as the licences ask for.
func (b *builder) licences(ctx context.Context, p platform) ([]byte, error) {
	const format = "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}"
	text, err := output(ctx, b.source, b.environment(p), "go", "list", "-buildvcs=false", "-deps", "-f", format, ".")
	if err != nil {
		return nil, err
	}
	modules := map[string][]string{} // by heading, the paths of their licences
	heading := "Go " + strings.TrimPrefix(runtime.Version(), "go")
	if modules[heading], err = licencesIn(b.goroot, b.goroot); err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 4 {
			continue // a package of Go or of Freshet
		}
		heading := fields[0] + " " + fields[1]
		found, err := licencesIn(fields[2], fields[3])
		if err != nil {
			return nil, err
		}
		modules[heading] = append(modules[heading], found...)
	}
	var all bytes.Buffer
	all.WriteString("The licences of Go and of the modules that this program contains.\n")
	for _, heading := range slices.Sorted(maps.Keys(modules)) {
		paths := modules[heading]
		if len(paths) == 0 {
			return nil, fmt.Errorf("%s has no file LICENSE: its licence must be found", heading)
		}
		fmt.Fprintf(&all, "\n%s\n%s\n", strings.Repeat("=", 80), heading)
		slices.Sort(paths)
		for _, path := range slices.Compact(paths) {
			licence, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&all, "\n%s\n%s\n\n%s\n", filepath.Base(path), strings.Repeat("-", 80), bytes.TrimSpace(licence))
		}
	}
	return all.Bytes(), nil
}

// licencesIn returns the paths of the licences in the folder of a package, and in those above it up to the module's.
func licencesIn(module, folder string) (paths []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(strings.ToUpper(e.Name()), ".")
		name, _, _ = strings.Cut(name, "-")
		if e.Type().IsRegular() && slices.Contains([]string{"LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "PATENTS"}, name) {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	if folder == module {
		return paths, nil
	}
	above, err := licencesIn(module, filepath.Dir(folder))
	return append(paths, above...), err
}
