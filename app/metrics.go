package app

import (
	"context"
	"net"
	"net/http"
	"time"

	"freshet/config"
	"freshet/metrics"
)

func (a *App) newMetrics(cfg config.Config) http.Handler {
	build := config.ThisBuild()
	return metrics.New(metrics.Config{
		Log: a.log, Hub: a.hub, Handlers: a.handlers, Relays: a.relays.States, DataFolder: cfg.Data, Version: build.Version, Commit: build.Commit, Logger: a.logger,
		CertificateExpires: func() time.Time {
			if a.certificates == nil {
				return time.Time{}
			}
			return a.certificates.Expires()
		},
	})
}

// listenForMetrics returns nil without --metrics-listen.
func listenForMetrics(ctx context.Context, cfg config.Config) (net.Listener, error) {
	if cfg.MetricsListen == "" {
		return nil, nil //nolint:nilnil // no listener
	}
	l, err := listenConfig().Listen(ctx, "tcp", cfg.MetricsListen)
	if err != nil {
		return nil, listenError("--metrics-listen", cfg.MetricsListen, err)
	}
	return l, nil
}

// newMetricsServer returns the server for --metrics-listen. It outlives the drain, so that the drain can be watched.
func (a *App) newMetricsServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { a.serve(a.metrics, w, r) })
	return NewServer(mux, a.logger)
}
