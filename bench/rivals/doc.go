//go:build linux

// Package rivals contains the servers that Freshet is compared with, each as small as its
// documentation shows it: a minimal one on bare sockets, plain Gin, go-sse, r3labs/sse and
// Centrifuge. The benchmark runs each as a process of its own.
//
// All of them stream at GET /event and accept an event at POST /publish, with its data as the body.
// None keeps anything on disk, and none requires a token.
package rivals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxBody is more than any event that the benchmarks publish.
const maxBody = 1 << 20

// Handler returns a rival on net/http by its name. It runs until the process ends.
func Handler(name string) (http.Handler, error) {
	switch name {
	case "centrifuge":
		return newCentrifuge()
	case "gin":
		return plainGin()
	case "go-sse":
		return goSSE()
	case "r3labs":
		return r3labs()
	}
	return nil, fmt.Errorf("there is no server %q", name)
}

// Serve runs the rival with the name on a free port of 127.0.0.1 until the context is done. When it
// is ready, it prints a line with "ready" and the address.
func Serve(ctx context.Context, name string, out io.Writer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if name == "minimal" {
		return serveMinimal(ctx, l, out)
	}
	handler, err := Handler(name)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // the process ends
	defer stop()
	fmt.Fprintln(out, "ready", l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
