package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"freshet/assets"
	"freshet/auth"
	"freshet/config"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/hub"
	"freshet/templates"
	"freshet/ticket"

	"golang.org/x/sync/errgroup"
)

// App is the wired application.
type App struct {
	log      *eventlog.Log
	hub      *hub.Hub
	keys     *auth.Keys
	handlers *handlers.Handlers
	router   http.Handler
	token    publishToken

	descriptors descriptors
}

// publishToken is the configured token, or the one made at the first start. Its text is
// empty where only JSON web tokens may publish.
type publishToken struct {
	text       string
	configured bool
	file       string // that has it, if it is not configured
}

// New wires the application. It opens the log, so the caller calls Run, which closes it. It waits
// for an external NATS as long as the Config says.
func New(ctx context.Context, cfg config.Config, logger *slog.Logger) (a *App, err error) {
	wait := cfg.NATSWait
	if cfg.NATS == "" {
		wait = 0
	}
	err = waitForNATS(ctx, wait, logger, func(ctx context.Context) (err error) {
		a, err = newApp(ctx, cfg, logger)
		return err
	})
	return a, err
}

func newApp(ctx context.Context, cfg config.Config, logger *slog.Logger) (_ *App, err error) {
	a := &App{token: publishToken{text: string(cfg.PublishToken), configured: cfg.PublishToken != ""}, descriptors: divide(descriptorLimit())}
	if a.log, err = openLog(ctx, cfg, logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.log.Close())
		}
	}()
	if a.keys, err = a.openKeys(cfg, logger); err != nil {
		return nil, err
	}
	if a.hub, err = hub.New(ctx, a.log, hub.Config{WindowBytes: int64(cfg.WindowBytes), Replays: cfg.MaxReplays}); err != nil {
		return nil, err
	}
	if a.handlers, err = a.openHandlers(ctx, cfg, logger); err != nil {
		return nil, err
	}
	a.router, err = NewRouter(a.handlers, a.keys, cfg, logger)
	return a, err
}

// Handler serves all routes, with the middleware in front of them.
func (a *App) Handler() http.Handler { return a.router }

// PublishToken returns the token that may do everything; it is empty where only JSON web
// tokens may publish.
func (a *App) PublishToken() string { return a.token.text }

// Ready is closed once streams may be opened: before, "now" would be in the past.
func (a *App) Ready() <-chan struct{} { return a.hub.CaughtUp() }

// Run runs everything behind the routes until ctx is done, then closes the log.
func (a *App) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.hub.Run(ctx) })
	g.Go(func() error { return a.handlers.Run(ctx) })
	g.Go(func() error { return returnMemory(ctx, a.handlers.Turnover) })
	g.Go(func() error { return a.keys.Run(ctx) })
	return errors.Join(g.Wait(), a.log.Close())
}

// openLog opens the log; its errors name the flag to check.
func openLog(ctx context.Context, cfg config.Config, logger *slog.Logger) (*eventlog.Log, error) {
	log, err := eventlog.Open(ctx, eventlog.Config{
		Dir:            cfg.Data,
		SyncInterval:   time.Duration(cfg.Sync),
		NATS:           string(cfg.NATS),
		Creds:          cfg.NATSCreds,
		Replicas:       cfg.Replicas,
		RetainAge:      cfg.RetainAge,
		RetainBytes:    int64(cfg.RetainBytes),
		RetainPerTopic: int64(cfg.RetainPerTopic),
		MaxEvent:       int64(cfg.MaxBody),
		Logger:         logger,
	})
	switch {
	case err == nil:
		return log, nil
	case errors.Is(err, eventlog.ErrInUse):
		return nil, fmt.Errorf("%w; stop it, or choose another folder with --data", err)
	case errors.Is(err, eventlog.ErrCredentials):
		return nil, fmt.Errorf("%w; check --nats-creds", err)
	case errors.Is(err, eventlog.ErrRefused):
		return nil, fmt.Errorf("%w; check --nats-creds, or the user and password in --nats", err)
	case cfg.Replicas > 1:
		return nil, fmt.Errorf("%w; check --nats and --replicas", err)
	case cfg.NATS != "":
		return nil, fmt.Errorf("%w; check --nats", err)
	}
	return nil, fmt.Errorf("%w; check --data", err)
}

func (a *App) openKeys(cfg config.Config, logger *slog.Logger) (*auth.Keys, error) {
	// An operator who has configured keys needs no token made here.
	if !a.token.configured && cfg.JWTSecret == "" && cfg.JWKSURL == "" {
		var err error
		a.token.file = auth.PublishTokenFile(cfg.Data)
		if a.token.text, err = auth.PublishToken(cfg.Data); err != nil {
			return nil, err
		}
	}
	return auth.New(auth.Config{
		PublishToken: a.token.text,
		JWTSecret:    string(cfg.JWTSecret),
		JWKSURL:      cfg.JWKSURL,
		Audience:     cfg.JWTAudience,
		Issuer:       cfg.JWTIssuer,
		Anonymous:    cfg.Anonymous,
		Logger:       logger,
	})
}

func (a *App) openHandlers(ctx context.Context, cfg config.Config, logger *slog.Logger) (*handlers.Handlers, error) {
	page, err := templates.Parse()
	if err != nil {
		return nil, err
	}
	node, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	store, err := a.log.Store(ctx)
	if err != nil {
		return nil, err
	}
	tickets, err := ticket.New(ctx, ticket.Config{Store: store, Logger: logger})
	if err != nil {
		return nil, err
	}
	return handlers.New(handlers.Config{
		Log:                      a.log,
		Hub:                      a.hub,
		Page:                     page,
		Assets:                   assets.Files(),
		CounterInterval:          cfg.CounterInterval,
		Heartbeat:                cfg.Heartbeat,
		RetryMin:                 cfg.Retry.Min,
		RetryMax:                 cfg.Retry.Max,
		MaxConnections:           a.descriptors.maxStreams(cfg.MaxConnections, logger),
		MaxDescriptors:           a.descriptors.connections,
		MaxConnectionsPerAddress: cfg.MaxConnectionsPerAddress,
		MaxTopics:                cfg.MaxTopics,
		MaxBody:                  int64(cfg.MaxBody),
		PublishRate:              cfg.PublishRate,
		Tickets:                  tickets,
		Nodes:                    a.log.Nodes(),
		Park:                     cfg.Park == "on",
		Node:                     node,
		Version:                  config.Version(),
		Logger:                   logger,
	})
}
