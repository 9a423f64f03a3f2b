package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"freshet/client"
	"freshet/config"
)

// tail prints events until it is interrupted.
func tail(args, environ []string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseTail(args, environ, stdout)
	if err != nil {
		return usage(err)
	}
	server, err := newRemote(cfg.Server)
	if err != nil {
		return err
	}
	c, err := server.client(client.Config{})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a write to a closed pipe fails instead
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, end := context.WithCancelCause(interrupted)
	defer end(nil)
	watched := make(chan struct{})
	defer func() { end(nil); <-watched }()
	go func() {
		defer close(watched)
		if pipeClosed(ctx, stdout) {
			end(syscall.EPIPE)
		}
	}()

	sub := client.Subscription{Since: cfg.Since}
	for _, pattern := range cfg.Patterns {
		sub.Topics = append(sub.Topics, pattern.String())
	}
	opened := false
	sub.Connected = func() { opened = true }
	sub.Disconnected = func(err error, wait time.Duration) {
		if !opened { // a wrong URL, probably
			end(err)
			return
		}
		if isTerminal(stderr) {
			fmt.Fprintf(stderr, "freshet: %v; trying again in %.1f s\n", server.explain(err), wait.Seconds())
		}
	}
	out := printer{out: stdout, gaps: stdout}
	if isTerminal(stdout) {
		out = printer{out: stdout, gaps: stderr, pretty: true, color: hasColor(environ)}
	}
	err = out.events(cfg.ExitAfter, func(yield func(client.Event, error) bool) { c.Subscribe(ctx, sub)(yield) })
	switch cause := context.Cause(ctx); {
	case interrupted.Err() != nil:
		return &failure{code: exitInterrupted}
	case errors.Is(err, syscall.EPIPE) || errors.Is(cause, syscall.EPIPE) || err == nil:
		return nil
	case cause != nil:
		return server.explain(cause)
	}
	return server.explain(err)
}

func hasColor(environ []string) bool {
	return !slices.Contains(environ, "TERM=dumb") && !slices.ContainsFunc(environ, func(entry string) bool {
		value, found := strings.CutPrefix(entry, "NO_COLOR=")
		return found && value != ""
	})
}

// printer prints events: for people, or as NDJSON.
type printer struct {
	out, gaps     io.Writer
	pretty, color bool
}

// events prints at most n events, or all for 0. Gaps do not count.
func (p printer) events(n int, events func(func(client.Event, error) bool)) error {
	for e, err := range events {
		switch {
		case err != nil:
			return err
		case p.pretty && e.Gap != nil:
			_, err = fmt.Fprintf(p.gaps, "freshet: gap: events are missing before the next one (%s)\n", e.Gap.Reason)
		case p.pretty:
			err = p.printPretty(e)
		default:
			err = p.printLine(e)
		}
		if err != nil {
			return err
		}
		if e.Gap == nil {
			if n--; n == 0 {
				return nil
			}
		}
	}
	return nil
}

// printLine prints the line as the server sends it.
func (p printer) printLine(e client.Event) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	if e.Time.IsZero() && e.Gap == nil { // a built-in event, which has no ID
		e.ID = ""
	}
	return encoder.Encode(struct {
		ID    string    `json:"id,omitempty"`
		Topic string    `json:"topic,omitempty"`
		Type  string    `json:"type,omitempty"`
		Time  time.Time `json:"time,omitzero"`
		Data  string    `json:"data"`
	}{e.ID, e.Topic, e.Type, e.Time, e.Data})
}

func (p printer) printPretty(e client.Event) error {
	at := e.Time
	if at.IsZero() {
		at = time.Now()
	}
	text := p.paint("2", at.Local().Format("Jan _2 15:04:05.000")) + " " + p.paint("36", shown(e.Topic))
	if e.Type != e.Topic {
		text += " " + p.paint("33", shown(e.Type))
	}
	_, err := fmt.Fprintln(p.out, text, shown(e.Data))
	return err
}

func (p printer) paint(color, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// shown returns the text without control characters, because an event must not control the terminal. Further lines are indented, so
// that none of them looks like an event.
func shown(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString("\n    ")
		case r == '\t' || strconv.IsPrint(r) || r == '\u200d': // the last joins emoji
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
