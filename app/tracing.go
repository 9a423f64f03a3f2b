package app

import (
	"context"
	"log/slog"

	"freshet/config"
	"freshet/tracing"
)

// exportTraces sets the provider of a server program, if the environment asks for traces. Call end at last.
func exportTraces(ctx context.Context, cfg *config.Config, logger *slog.Logger) (end func(), err error) {
	provider, on, err := tracing.FromEnvironment(ctx, tracing.Config{Node: cfg.Node, Version: config.ThisBuild().Version, Logger: logger})
	if err != nil || !on {
		return func() {}, err
	}
	cfg.TracerProvider = provider
	logger.Info("traces are sent", "endpoint", provider.Endpoint)
	return provider.Close, nil
}
