// Command release builds the files of a release from the source of Freshet: an archive and a list of its modules (SBOM) for each platform,
// and their checksums. The same commit gives the same bytes, on every machine.
//
//	go run -C deploy/release .
//
// docs/releasing.md says how to use it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// platforms have a release.
var platforms = []platform{
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"linux", "amd64"}, {"linux", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var version, commit, output, only string
	flags := flag.NewFlagSet("release", flag.ExitOnError)
	flags.StringVar(&output, "output", "dist", "`folder` for the files, in the project's folder or absolute; it must not exist")
	flags.StringVar(&version, "version", "", "`version` such as v1.2.0; default: the tag of the commit")
	flags.StringVar(&commit, "commit", "", "`hash` of the commit, where the source has no Git; SOURCE_DATE_EPOCH is then its date")
	flags.StringVar(&only, "only", "", "`platforms` to build, such as linux/amd64,linux/arm64; default: all")
	_ = flags.Parse(args) // it exits
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: want flags only; see --help", flags.Arg(0))
	}
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	source, err := filepath.Abs("../..") // go run -C deploy/release starts the program here
	if err != nil {
		return err
	}
	if !filepath.IsAbs(output) {
		output = filepath.Join(source, output)
	}
	s, err := stampOf(ctx, source, version, commit, os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	b, err := newBuilder(ctx, source, s)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.tmp) }() //nolint:gosec // our own temporary folder
	return b.release(ctx, chosen, output)
}

func choose(only string) ([]platform, error) {
	if only == "" {
		return platforms, nil
	}
	var chosen []platform
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(platforms, func(p platform) bool { return p.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("--only: %q is not a platform: want some of %v, separated by commas", name, platforms)
		}
		chosen = append(chosen, platforms[i])
	}
	return chosen, nil
}

// release writes the files into the folder output. If it fails or is interrupted, there is no such folder.
func (b *builder) release(ctx context.Context, chosen []platform, output string) (err error) {
	if _, err := os.Stat(output); err == nil {
		return fmt.Errorf("%s is there already: remove it, or choose another folder with --output", output)
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil { //nolint:gosec // the files are public
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(output), ".release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()     // renamed, if all went well
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // the files are public
		return err
	}
	completions, err := b.completions(ctx)
	if err != nil {
		return err
	}
	for _, p := range chosen {
		fmt.Println(p)
		if err := b.platform(ctx, p, completions, folder); err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
	}
	if err := writeSums(folder); err != nil {
		return err
	}
	return os.Rename(folder, output)
}

// platform writes the archive and the SBOM of a platform.
func (b *builder) platform(ctx context.Context, p platform, completions []file, folder string) error {
	path, err := b.build(ctx, p)
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(path) //nolint:gosec // our own file
	if err != nil {
		return err
	}
	licences, err := b.licences(ctx, p)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("freshet_%s_%s_%s", b.stamp.version, p.os, p.arch)
	program := file{name: "freshet", data: binary, program: true}
	write, ending := writeTarGz, ".tar.gz"
	if p.os == "windows" {
		program.name += ".exe"
		write, ending = writeZip, ".zip"
	}
	files := append([]file{program, {name: "THIRD-PARTY-LICENSES.txt", data: licences}}, completions...)
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		data, err := os.ReadFile(filepath.Join(b.source, name)) //nolint:gosec // files of the source
		if err != nil {
			return err
		}
		files = append(files, file{name: name, data: data})
	}
	archive, err := write(name, files, b.stamp.date)
	if err != nil {
		return err
	}
	modules, err := sbom(binary, p, b.stamp)
	if err != nil {
		return err
	}
	for _, f := range []file{{name: name + ending, data: archive}, {name: name + ".cdx.json", data: modules}} {
		if err := os.WriteFile(filepath.Join(folder, f.name), f.data, 0o644); err != nil { //nolint:gosec // the files are public
			return err
		}
	}
	return nil
}
