package check_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet/config"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// stages parses a Dockerfile with Docker's own parser. A warning of its linter is an error.
func stages(text string) ([]instructions.Stage, error) {
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	var warnings []string
	for _, w := range result.Warnings {
		warnings = append(warnings, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		warnings = append(warnings, rule+": "+message)
	}})
	stages, _, err := instructions.Parse(result.AST, lint)
	if err == nil && warnings != nil {
		err = fmt.Errorf("%q", warnings)
	}
	return stages, err
}

func TestDockerfile(t *testing.T) {
	text := read(t, "Dockerfile")
	all, err := stages(text)
	must(t, err)
	image := all[len(all)-1]
	if image.BaseName != "scratch" {
		t.Errorf("the image is made from %s", image.BaseName)
	}
	var user, entry, check, volume string
	for _, command := range image.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			entry = strings.Join(c.CmdLine, " ")
			if c.PrependShell {
				t.Error("the entry point needs a shell")
			}
		case *instructions.HealthCheckCommand:
			if check = strings.Join(c.Health.Test, " "); c.Health.StartPeriod <= config.Default().NATSWait {
				t.Errorf("a node that waits for NATS is unhealthy after %v", c.Health.StartPeriod)
			}
		case *instructions.VolumeCommand:
			volume = c.Volumes[0]
		case *instructions.EnvCommand:
			if cfg := settings(t, nil, map[string]string{c.Env[0].Key: c.Env[0].Value, "FRESHET_NATS": "nats", "FRESHET_PUBLISH_TOKEN": password, "FRESHET_TRUSTED_PROXY": "::1"}); cfg.Data != "/data" {
				t.Errorf("--data is %s", cfg.Data)
			}
		case *instructions.RunCommand:
			t.Errorf("an empty image cannot run %s", c)
		}
	}
	isCommand := slices.ContainsFunc(config.Commands(), func(c config.Command) bool { return check == "CMD "+entry+" "+c.Name })
	if user != "65532:65532" || entry != "/usr/bin/freshet" || !isCommand || volume != "/data" {
		t.Errorf("user %s, entry point %s, health check %s, volume %s", user, entry, check, volume)
	}
	for want, change := range map[string][2]string{
		"unknown instruction":  {"ENTRYPOINT", "ENTRY"},
		"unknown flag: --from": {"RUN mkdir", "RUN --from=build mkdir"},
		"FromAsCasing":         {" AS build", " as build"},
	} {
		if _, err := stages(replace(t, text, change[:]...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q instead of %q gives %v, want %s", change[1], change[0], err, want)
		}
	}
}

// Docker gets all files that the program is built from, and no tests.
func TestDockerfileLeavesOutNoSource(t *testing.T) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, "Dockerfile.dockerignore")))
	must(t, err)
	ignored, err := patternmatcher.New(patterns)
	must(t, err)
	top, err := filepath.Abs("../..")
	must(t, err)
	list := exec.CommandContext(t.Context(), "go", "list", "-C", top, "-deps", "-json=Dir,Standard,Module,GoFiles,EmbedFiles", ".")
	output, err := list.Output()
	must(t, err)
	files := []string{"go.mod", "go.sum"}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); decoder.More(); {
		var p struct {
			Dir                 string
			Module              *struct{ Main bool }
			GoFiles, EmbedFiles []string
		}
		must(t, decoder.Decode(&p))
		if p.Module == nil || !p.Module.Main {
			continue
		}
		folder, err := filepath.Rel(top, p.Dir)
		must(t, err)
		for _, name := range slices.Concat(p.GoFiles, p.EmbedFiles) {
			files = append(files, filepath.Join(folder, name))
		}
	}
	for _, file := range files {
		if out, err := ignored.MatchesOrParentMatches(file); out || err != nil {
			t.Errorf("Dockerfile.dockerignore leaves out %s: %v", file, err)
		}
	}
	for _, file := range []string{".git/config", "e2e/auth_test.go", "hub/hub_test.go", "freshet-data/publish-token", "docs/why.md", "assets/README.md"} {
		if out, err := ignored.MatchesOrParentMatches(file); !out || err != nil {
			t.Errorf("Dockerfile.dockerignore does not leave out %s: %v", file, err)
		}
	}
	if len(files) < 100 {
		t.Errorf("only %d files were found", len(files))
	}
}
