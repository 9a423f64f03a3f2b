package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"freshet/config"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"
)

// How long the shutdown may take beyond the drain: the last frames, then requests of new connections, then publishes in flight.
const (
	drainGrace    = 500 * time.Millisecond
	newcomerGrace = 250 * time.Millisecond
	shutdownGrace = time.Second
)

// Serve runs the server until ctx is done or a part of it fails, then shuts it down: it
// drains the streams, finishes the requests in flight and closes the log. Before the drain
// it calls stop, so that a second signal ends the process at once.
func Serve(ctx context.Context, stop func(), cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(cfg, stderr)
	var err error
	if cfg.Node, err = nodeName(cfg.Node); err != nil {
		return err
	}
	endTraces, err := exportTraces(ctx, &cfg, logger)
	if err != nil {
		return err
	}
	defer endTraces()
	// Listen first, so that a port in use leaves no trace. Early clients wait.
	listeners, err := listen(ctx, cfg.Listen)
	defer closeAll(listeners) // the server has closed them, if there was one
	if err != nil {
		return err
	}
	metricsListener, err := listenForMetrics(ctx, cfg)
	if err != nil {
		return err
	}
	if metricsListener != nil {
		defer func() { _ = metricsListener.Close() }()
	}
	certs, err := openCertificates(cfg, logger)
	if err != nil {
		return err
	}
	a, err := Open(ctx, cfg, logger)
	if err != nil && ctx.Err() != nil {
		logger.Info("stopped before the server was ready")
		return nil
	}
	if err != nil {
		return err
	}
	a.certificates = certs // before the first request
	server := NewServer(a, logger)
	var newcomers newcomers
	server.ConnState = newcomers.track
	serveOn := server.Serve
	if certs != nil {
		server.TLSConfig = certs.TLS()
		serveOn = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		newcomers.accepting.Add(1)
		g.Go(func() error {
			defer newcomers.accepting.Done()
			return unlessClosed(serveOn(a.descriptors.guard(l, logger)))
		})
	}
	if certs != nil {
		g.Go(func() error { return certs.Run(ctx) })
	}
	metricsServer := a.newMetricsServer()
	if metricsListener != nil {
		g.Go(func() error { return unlessClosed(metricsServer.Serve(metricsListener)) })
	}
	printReady(stdout, baseURL(listeners[0].Addr(), certs), a.token, len(cfg.Anonymous) > 0)
	notifySystemd(logger, daemon.SdNotifyReady)
	select {
	case <-ctx.Done():
	case <-a.Done(): // a part of it has failed
	}
	stop()
	stopping := time.Now()
	notifySystemd(logger, daemon.SdNotifyStopping+"\n"+extendTimeout(cfg.Drain))
	a.drainStreams()
	newcomers.finish(listeners)
	err = errors.Join(a.finish(server), metricsServer.Close())
	endTraces()
	cancel()
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	logger.Info("stopped", "after", time.Since(stopping).Round(time.Millisecond).String())
	return nil
}

// unlessClosed is the error of a server that has ended, unless it or its listener was closed.
func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
