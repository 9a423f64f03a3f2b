package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"freshet/config"

	"github.com/gin-gonic/gin"
)

// Main runs the program with its arguments, without the program's name, and its environment, which is [os.Environ]. It returns the
// exit code. A test that calls it from its own TestMain has a real server process.
func Main(args []string, environ []string, stdout, stderr io.Writer) int {
	gin.SetMode(gin.ReleaseMode)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Parse(args, environ, stdout)
	if err == nil {
		err = Serve(ctx, stop, cfg, stdout, stderr)
	}
	if err != nil && !errors.Is(err, config.ErrPrinted) {
		fmt.Fprintln(stderr, "freshet:", err)
		return 1
	}
	return 0
}

func newLogger(cfg config.Config, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.Log == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
