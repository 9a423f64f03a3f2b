// Package main_test runs the program as a maintainer does, and looks at what it writes.
package main_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	version = "v0.0.1-test.1"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	epoch   = "1700000001"
)

var date = time.Unix(1700000001, 0)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// release runs the program of the source in top with the arguments and variables, and returns what it says on standard error.
func release(t *testing.T, top string, variables []string, args ...string) string {
	t.Helper()
	run := append([]string{"-c", `umask "$0" && exec go run . "$@"`, "022"}, args...)
	if slices.Contains(variables, "UMASK=077") {
		run[2] = "077"
	}
	cmd := exec.CommandContext(t.Context(), "sh", run...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Join(top, "deploy", "release"), append(os.Environ(), variables...), t.Output(), &stderr
	if err := cmd.Run(); (err == nil) != (stderr.Len() == 0) {
		t.Errorf("%q: %v, and standard error has %q", args, err, &stderr)
	}
	return stderr.String()
}

// given are the arguments and variables of a release of a source without Git.
func given(output string, args ...string) ([]string, []string) {
	return []string{"SOURCE_DATE_EPOCH=" + epoch}, append([]string{"--version", version, "--commit", commit, "--output", output}, args...)
}

// The platforms are built from this folder. Then one of them is built in another folder, by a user with other settings.
func TestRelease(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "release")
	platforms := []string{"linux_amd64"}
	if full {
		platforms = []string{"darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64", "windows_amd64", "windows_arm64"}
	}
	variables, args := given(folder, "--only", strings.ReplaceAll(strings.Join(platforms, ","), "_", "/"))
	if complaint := release(t, "../..", variables, args...); complaint != "" {
		t.Fatal(complaint)
	}
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	sums.Dir = folder
	if output, err := sums.CombinedOutput(); err != nil || bytes.Count(output, []byte(": OK\n")) != 2*len(platforms) {
		t.Errorf("sha256sum --check: %v\n%s", err, output)
	}
	schema := sbomSchema(t)
	for _, platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			name := "freshet_" + version + "_" + platform
			files := unpacked(t, filepath.Join(folder, name), name)
			program := cmp.Or(files["freshet"], files["freshet.exe"])
			checkFormat(t, platform, program)
			for _, path := range []string{goEnv(t, "GOROOT"), here(t)} {
				if strings.Contains(program, path) {
					t.Errorf("the program has the path %s of the machine that built it", path)
				}
			}
			for _, text := range []string{version, commit, date.UTC().Format(time.RFC3339)} {
				if !strings.Contains(program, text) {
					t.Errorf("the program does not have %q", text)
				}
			}
			checkSBOM(t, schema, filepath.Join(folder, name+".cdx.json"), program)
			if platform == runtime.GOOS+"_"+runtime.GOARCH {
				checkProgram(t, program)
			}
		})
	}
	if t.Failed() {
		return
	}

	elsewhere := filepath.Join(t.TempDir(), "a folder with another name")
	must(t, copySource(elsewhere))
	cache := goEnv(t, "GOCACHE")
	if full {
		cache = t.TempDir()
	}
	again := filepath.Join(t.TempDir(), "again")
	variables, args = given(again, "--only", "linux/amd64")
	variables = append(variables, "UMASK=077", "TZ=Asia/Tokyo", "LC_ALL=C", "HOME="+t.TempDir(), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOCACHE="+cache,
		"GOAMD64=v3", "GOFLAGS=-tags=other", "CGO_ENABLED=1")
	if complaint := release(t, elsewhere, variables, args...); complaint != "" {
		t.Fatal(complaint)
	}
	for _, ending := range []string{".tar.gz", ".cdx.json"} {
		name := "freshet_" + version + "_linux_amd64" + ending
		first, err := os.ReadFile(filepath.Join(folder, name))
		must(t, err)
		second, err := os.ReadFile(filepath.Join(again, name))
		must(t, err)
		if !bytes.Equal(first, second) {
			t.Errorf("two builds of %s are not equal", name)
		}
	}
}

// unpacked returns the contents of the files in an archive, by their names.
func unpacked(t *testing.T, base, folder string) map[string]string {
	t.Helper()
	files, wrong := map[string]string{}, []string{}
	add := func(name string, mode fs.FileMode, modified time.Time, r io.Reader) {
		data, err := io.ReadAll(r)
		must(t, err)
		within, found := strings.CutPrefix(name, folder+"/")
		want := fs.FileMode(0o644)
		if strings.HasPrefix(within, "freshet") {
			want = 0o755
		}
		if !found || mode != want || !modified.Equal(date) || len(data) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %v, %v, %d bytes", name, mode, modified, len(data)))
		}
		files[within] = string(data)
	}
	program := "freshet"
	if strings.Contains(folder, "windows") {
		program = "freshet.exe"
		archive, err := zip.OpenReader(base + ".zip")
		must(t, err)
		defer archive.Close()
		for _, f := range archive.File {
			r, err := f.Open()
			must(t, err)
			add(f.Name, f.Mode(), f.Modified, r)
		}
	} else {
		f, err := os.Open(base + ".tar.gz")
		must(t, err)
		defer f.Close()
		plain, err := gzip.NewReader(f)
		must(t, err)
		archive := tar.NewReader(plain)
		for {
			header, err := archive.Next()
			if err == io.EOF {
				break
			}
			must(t, err)
			if header.Uid != 0 || header.Gid != 0 || header.Uname+header.Gname != "" {
				wrong = append(wrong, fmt.Sprintf("%s is of the user %+v", header.Name, header))
			}
			add(header.Name, header.FileInfo().Mode(), header.ModTime, archive)
		}
	}
	for _, name := range []string{program, "LICENSE", "THIRD-PARTY-LICENSES.txt", "README.md", "CHANGELOG.md", "completions/freshet.bash", "completions/_freshet", "completions/freshet.fish"} {
		if files[name] == "" {
			wrong = append(wrong, name+" is missing")
		}
	}
	if len(wrong) > 0 || len(files) != 8 {
		t.Errorf("%s has %d files: %s", base, len(files), strings.Join(wrong, "\n"))
	}
	return files
}

// checkFormat checks that the program is for the platform, needs no library on Linux, and has no symbols.
func checkFormat(t *testing.T, platform, program string) {
	t.Helper()
	r := strings.NewReader(program)
	switch system, arch, _ := strings.Cut(platform, "_"); system {
	case "linux":
		f, err := elf.NewFile(r)
		must(t, err)
		if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
			t.Errorf("the program is for %v", f.Machine)
		}
		if symbols, err := f.Symbols(); err == nil || len(symbols) > 0 {
			t.Errorf("the program has %d symbols", len(symbols))
		}
		if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Error("the program is not static")
		}
	case "darwin":
		f, err := macho.NewFile(r)
		must(t, err)
		if want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[arch]; f.Cpu != want {
			t.Errorf("the program is for %v", f.Cpu)
		}
		const uuid = 0x1b // LC_UUID; without it, macOS refuses programs the local network
		if !slices.ContainsFunc(f.Loads, func(l macho.Load) bool { return f.ByteOrder.Uint32(l.Raw()) == uuid }) {
			t.Error("the program has no UUID")
		}
	case "windows":
		f, err := pe.NewFile(r)
		must(t, err)
		if want := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}[arch]; f.Machine != want {
			t.Errorf("the program is for %x", f.Machine)
		}
	}
}

// checkProgram runs the program.
func checkProgram(t *testing.T, program string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "freshet.exe")
	must(t, os.WriteFile(name, []byte(program), 0o700))
	output, err := exec.CommandContext(t.Context(), name, "version", "--json").Output()
	must(t, err)
	var have map[string]string
	must(t, json.Unmarshal(output, &have))
	if have["version"] != version || have["commit"] != commit || have["date"] != date.UTC().Format(time.RFC3339) {
		t.Errorf("freshet version --json prints %s", output)
	}
}

// checkSBOM checks the list by CycloneDX's schema, and that it has all modules of the program.
func checkSBOM(t *testing.T, schema *jsonschema.Schema, path, program string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(t, err)
	must(t, schema.Validate(document))
	info, err := buildinfo.Read(strings.NewReader(program))
	must(t, err)
	if len(info.Deps) < 20 {
		t.Errorf("the program has only %d modules", len(info.Deps))
	}
	for _, m := range info.Deps {
		if want := fmt.Sprintf(`"purl": "pkg:golang/%s@%s"`, m.Path, strings.ReplaceAll(m.Version, "+", "%2B")); !bytes.Contains(text, []byte(want)) {
			t.Errorf("the list does not have %s", want)
		}
	}
	// A list that is wrong does not pass.
	wrong, err := jsonschema.UnmarshalJSON(bytes.NewReader(bytes.Replace(text, []byte(`"SHA-256"`), []byte(`"SHA-255"`), 1)))
	must(t, err)
	if schema.Validate(wrong) == nil {
		t.Error("the schema accepts an unknown hash")
	}
}

// sbomSchema is CycloneDX's own schema. Its module for Go contains it.
func sbomSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	folder, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	must(t, err)
	compiler := jsonschema.NewCompiler()
	const base = "http://cyclonedx.org/schema/"
	for url, name := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		f, err := os.Open(filepath.Join(strings.TrimSpace(string(folder)), "schema", name))
		must(t, err)
		defer f.Close()
		document, err := jsonschema.UnmarshalJSON(f)
		must(t, err)
		must(t, compiler.AddResource(base+url, document))
	}
	schema, err := compiler.Compile(base + "bom-1.6.schema.json")
	must(t, err)
	return schema
}

// copySource copies what is needed to build.
func copySource(folder string) error {
	return filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || slices.Contains([]string{"node_modules", "freshet-data"}, d.Name())
		switch to := filepath.Join(folder, strings.TrimPrefix(name, "../..")); {
		case hidden && d.IsDir():
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case hidden || !d.Type().IsRegular() || path.Ext(name) == ".test":
			return nil
		default:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(to, data, 0o600)
		}
	})
}

func here(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs("../..")
	must(t, err)
	return folder
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	must(t, err)
	return strings.TrimSpace(string(value))
}
