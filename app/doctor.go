package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"freshet/config"
	"freshet/doctor"
)

// examine prints what breaks a stream on the way to its readers.
func examine(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseDoctor(args, environ, stdout)
	if err != nil {
		return usage(err)
	}
	server, err := newRemote(cfg.Server)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	token, err := server.token(ctx)
	if err != nil {
		return err
	}
	settings := doctor.Config{URL: cfg.Target, Token: token, Origin: cfg.Origin, For: cfg.For}
	if !cfg.JSON {
		if isTerminal(stderr) {
			fmt.Fprintf(stderr, "freshet: examining streams for %v\n", cfg.For)
		}
		p := printer{out: stdout, color: isTerminal(stdout) && hasColor(environ)}
		settings.Report = p.printFinding
	}
	report, err := doctor.Examine(ctx, settings)
	if ctx.Err() != nil {
		return &failure{code: exitInterrupted}
	}
	if err != nil {
		return err
	}
	if cfg.JSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(report); err != nil {
			return err
		}
	}
	if !report.OK {
		return &failure{code: 1}
	}
	return nil
}

// printFinding prints a line for the finding, and one for each advice.
func (p printer) printFinding(f doctor.Finding) {
	color := map[doctor.Result]string{doctor.OK: "32", doctor.Warn: "33", doctor.Fail: "31", doctor.Skip: "2"}[f.Result]
	text := fmt.Sprintf("%s  %-11s  %s\n", p.paint(color, fmt.Sprintf("%-4s", f.Result)), f.Check, shown(f.Seen))
	for _, a := range f.Advice {
		text += fmt.Sprintf("%s%-10s  %s\n", strings.Repeat(" ", 19), a.At, a.Change)
	}
	fmt.Fprint(p.out, text)
}
