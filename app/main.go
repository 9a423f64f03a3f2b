package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"freshet/config"
	"freshet/nearest"

	"github.com/gin-gonic/gin"
)

// commands are what the program does. Its first argument names one; without a name it serves. [config.Commands] has their help.
var commands = map[string]func(args, environ []string, stdout, stderr io.Writer) error{
	"serve":       serve,
	"publish":     publish,
	"tail":        tail,
	"doctor":      examine,
	"backup":      backup,
	"restore":     restore,
	"move":        move,
	"token":       token,
	"healthcheck": healthcheck,
	"completion":  completion,
	"version":     version,
}

// Main runs the program with its arguments, without the program's name, and its environment, which is [os.Environ]. It returns the
// exit code. A test that calls it from its own TestMain has a real server process.
func Main(args []string, environ []string, stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	err := run(name, args, environ, stdout, stderr)
	if err == nil || errors.Is(err, config.ErrPrinted) {
		return 0
	}
	failed, ok := errors.AsType[*failure](err)
	if !ok {
		failed = &failure{1, err}
	}
	if failed.err != nil {
		fmt.Fprintln(stderr, "freshet:", failed.err)
	}
	return failed.code
}

// failure is an error with an exit code. Without err, the user knows the reason.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return fmt.Sprintf("exit code %d: %v", f.code, f.err) }

// The exit codes besides 0 and 1.
const (
	exitUsage       = 2
	exitInterrupted = 130 // as a shell reports SIGINT
)

// usage gives wrong usage its exit code.
func usage(err error) error {
	if errors.Is(err, config.ErrPrinted) {
		return err
	}
	return &failure{exitUsage, err}
}

func completion(args, _ []string, stdout, _ io.Writer) error {
	if err := config.Completion(args, stdout); err != nil {
		return usage(err)
	}
	return nil
}

func run(name string, args, environ []string, stdout, stderr io.Writer) error {
	if command, known := commands[name]; known {
		return command(args, environ, stdout, stderr)
	}
	if guess, near := nearest.Word(name, slices.Sorted(maps.Keys(commands))); near {
		return fmt.Errorf("unknown command %q; did you mean freshet %s?", name, guess)
	}
	return fmt.Errorf("unknown command %q; see freshet --help", name)
}

// serve runs the server until SIGINT or SIGTERM.
func serve(args, environ []string, stdout, stderr io.Writer) error {
	gin.SetMode(gin.ReleaseMode)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Parse(args, environ, stdout)
	if err != nil {
		return err
	}
	return Serve(ctx, stop, cfg, stdout, stderr)
}

func version(args, _ []string, stdout, _ io.Writer) error {
	v, err := config.ParseVersion(args, stdout)
	if err != nil {
		return usage(err)
	}
	if v.JSON {
		return json.NewEncoder(stdout).Encode(config.ThisBuild())
	}
	_, err = fmt.Fprintln(stdout, config.ThisBuild())
	return err
}

func newLogger(cfg config.Config, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.Log == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
