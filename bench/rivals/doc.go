//go:build linux

// Package rivals has the servers that the benchmarks measure Freshet against, each as small
// as its documentation shows it: a minimal one in bare sockets, plain Gin, go-sse and
// r3labs/sse. The benchmark's program runs each as a process of its own.
//
// All of them stream at GET /event and take an event at POST /publish, its data the body;
// none keeps anything on disk, and none asks for a token.
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

// handlers makes the handler of each rival on net/http.
var handlers = map[string]func() (http.Handler, error){
	"gin":    plainGin,
	"go-sse": goSSE,
	"r3labs": r3labs,
}

// Serve serves as the rival of the name on a free port of 127.0.0.1, prints "ready" and the
// address as a line once it does, and returns once the context is done.
func Serve(ctx context.Context, name string, out io.Writer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if name == "minimal" {
		return serveMinimal(ctx, l, out)
	}
	newHandler, ok := handlers[name]
	if !ok {
		return errors.Join(fmt.Errorf("no server %q", name), l.Close())
	}
	handler, err := newHandler()
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
