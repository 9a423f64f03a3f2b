package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"freshet/config"

	"golang.org/x/sync/errgroup"
)

// How long the shutdown may take beyond the drain: the last frames, then publishes in flight.
const (
	drainGrace    = 500 * time.Millisecond
	shutdownGrace = time.Second
)

// Serve runs the server until ctx is done or a part of it fails, then shuts it down: it
// drains the streams, finishes the requests in flight and closes the log. Before the drain
// it calls stop, so that a second signal ends the process at once.
func Serve(ctx context.Context, stop func(), cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(cfg, stderr)
	// Listen first, so that a port in use leaves no trace. Early clients wait.
	var listeners []net.Listener
	for _, address := range cfg.Listen {
		l, err := listenConfig().Listen(ctx, "tcp", address)
		if err != nil {
			return listenError(address, err)
		}
		defer func() { _ = l.Close() }() // the server has closed it, if there was one
		listeners = append(listeners, l)
	}
	certs, err := openCertificates(cfg, logger)
	if err != nil {
		return err
	}
	a, err := New(ctx, cfg, logger)
	if err != nil && ctx.Err() != nil {
		logger.Info("stopped before the server was ready")
		return nil
	}
	if err != nil {
		return err
	}
	server := NewServer(a.router, logger)
	serveOn := server.Serve
	if certs != nil {
		server.TLSConfig = certs.TLS()
		serveOn = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}

	// The application runs on while the server drains, so it has a context of its own.
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	var stopping time.Time
	g.Go(func() error { return a.Run(running) })
	g.Go(func() error {
		defer end()
		select {
		case <-a.Ready():
		case <-ctx.Done():
			stopping = time.Now()
			return nil
		}
		for _, l := range listeners {
			g.Go(func() error {
				if err := serveOn(a.descriptors.guard(l, logger)); !errors.Is(err, http.ErrServerClosed) {
					return err
				}
				return nil
			})
		}
		if certs != nil {
			g.Go(func() error { return certs.Run(ctx) })
		}
		printReady(stdout, baseURL(listeners[0].Addr(), certs), a.token, len(cfg.Anonymous) > 0)
		<-ctx.Done()
		stop()
		stopping = time.Now()
		logger.Info("draining", "for", cfg.Drain.String())
		a.drain(server, cfg.Drain, logger)
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	logger.Info("stopped", "after", time.Since(stopping).Round(time.Millisecond).String())
	return nil
}

// drain ends the streams, then the requests in flight, then everything else.
func (a *App) drain(server *http.Server, span time.Duration, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), span+drainGrace)
	defer cancel()
	if err := a.handlers.Drain(ctx, span); err != nil {
		logger.Warn("streams are still open after the drain", "error", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		logger.Warn("requests are still open after the drain", "error", errors.Join(err, server.Close()))
	}
}
