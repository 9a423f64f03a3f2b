package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"freshet/assets"
	"freshet/auth"
	"freshet/config"
	"freshet/docs"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/hub"
	"freshet/relay"
	"freshet/templates"
	"freshet/ticket"
	"freshet/tracing"

	"golang.org/x/sync/errgroup"
)

// App is the whole application: an [http.Handler] with all routes and the middleware in front of them. It also publishes for the program that
// it is part of.
type App struct {
	cfg      config.Config
	logger   *slog.Logger
	log      *eventlog.Log
	hub      *hub.Hub
	keys     *auth.Keys
	tickets  *ticket.Tickets
	handlers *handlers.Handlers
	relays   *relay.Relays
	metrics  http.Handler
	traced   *tracing.Deliveries // nil: nothing is traced
	router   http.Handler
	token    publishToken

	certificates certificates // nil: no TLS, or the embedding program's

	descriptors descriptors

	end    func()        // ends what runs behind the routes
	ended  chan struct{} // closed when that has ended
	runErr error         // why, once ended is closed

	mu        sync.Mutex
	closed    bool           // guarded by mu
	using     sync.WaitGroup // requests and publishes: the log must not be closed under them
	closeOnce sync.Once
	closeErr  error
}

// publishToken is the configured token, or the one made at the first start. Its text is empty where only JSON web tokens may publish, or
// where Config.Authenticate decides.
type publishToken struct {
	text       string
	configured bool
	file       string // that has it, if it is not configured
}

// Open opens the log and starts the application, which runs until Close is called. It returns once streams can be opened. It waits for an external
// NATS as long as the Config says. The error is one line that says what to do. ctx ends the start, not the application.
//
// [config.Default] is the configuration of a server without flags. Its fields for listeners and TLS are of no effect here.
//
// With Config.TracerProvider, or with a global provider of OpenTelemetry that was set before, requests and deliveries have spans. Open sets no global.
func Open(ctx context.Context, cfg config.Config, logger *slog.Logger) (*App, error) {
	a, err := connect(ctx, cfg, logger)
	if err != nil {
		return nil, err
	}
	a.run()
	select {
	case <-a.hub.CaughtUp(): // before, "now" would be in the past
		return a, nil
	case <-a.ended:
		return nil, cmp.Or(a.Close(), ErrClosed)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), a.Close())
	}
}

// connect wires the application, and waits for NATS.
func connect(ctx context.Context, cfg config.Config, logger *slog.Logger) (a *App, err error) {
	if cfg.Node, err = nodeName(cfg.Node); err != nil {
		return nil, err
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = tracing.Global()
	}
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
	a := &App{cfg: cfg, logger: logger, ended: make(chan struct{}), token: publishToken{text: string(cfg.PublishToken), configured: cfg.PublishToken != ""}, descriptors: divide(descriptorLimit())}
	if cfg.TracerProvider != nil {
		a.traced = tracing.NewDeliveries(cfg.TracerProvider, cfg.Node)
	}
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
	hubConfig := hub.Config{WindowBytes: int64(cfg.WindowBytes), Replays: cfg.MaxReplays}
	if a.traced != nil {
		hubConfig.Deliveries = a.traced
	}
	if a.hub, err = hub.New(ctx, a.log, hubConfig); err != nil {
		return nil, err
	}
	store, err := a.log.Store(ctx)
	if err != nil {
		return nil, err
	}
	if a.relays, err = openRelays(cfg, a.log, store, logger); err != nil {
		return nil, err
	}
	if a.handlers, err = a.openHandlers(ctx, cfg, store, logger); err != nil {
		return nil, err
	}
	a.metrics = a.newMetrics(cfg)
	a.router, err = NewRouter(a.handlers, a.keys, cfg, logger)
	return a, err
}

// PublishToken returns the token that may do everything; it is empty if Config.PublishToken is empty and the Config has keys for JSON web
// tokens, or Authenticate.
func (a *App) PublishToken() string { return a.token.text }

// run starts everything behind the routes.
func (a *App) run() {
	ctx, end := context.WithCancel(context.Background())
	a.end = end
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.hub.Run(ctx) })
	g.Go(func() error { return a.handlers.Run(ctx) })
	g.Go(func() error { return returnMemory(ctx, a.handlers.Turnover) })
	g.Go(func() error { return a.keys.Run(ctx) })
	g.Go(func() error { return a.relays.Run(ctx) })
	if a.traced != nil {
		g.Go(func() error { return a.traced.Run(ctx) })
	}
	go func() {
		defer close(a.ended)
		a.runErr = g.Wait()
	}()
}

// openLog opens the log; its errors name the flag to check.
func openLog(ctx context.Context, cfg config.Config, logger *slog.Logger) (*eventlog.Log, error) {
	logConfig := eventlog.Config{
		Node:           cfg.Node,
		Dir:            cfg.Data,
		SyncInterval:   time.Duration(cfg.Sync),
		NATS:           string(cfg.NATS),
		Creds:          cfg.NATSCreds,
		Replicas:       cfg.Replicas,
		UpdateStream:   cfg.UpdateStream,
		RetainAge:      orNone(cfg.RetainAge),
		RetainBytes:    orNone(int64(cfg.RetainBytes)),
		RetainPerTopic: int64(cfg.RetainPerTopic),
		Retain:         retentions(cfg.Retain),
		MaxEvent:       int64(cfg.MaxBody),
		Logger:         logger,
	}
	if cfg.TracerProvider != nil {
		logConfig.TraceOf = tracing.TraceOf
	}
	log, err := eventlog.Open(ctx, logConfig)
	if err != nil {
		return nil, explainLog(err, cfg.NATS != "", cfg.Replicas)
	}
	return log, nil
}

func retentions(rules []config.Retention) (retain []eventlog.Retention) {
	for _, r := range rules {
		retain = append(retain, eventlog.Retention(r))
	}
	return retain
}

// explainLog adds to the error of a log what to do.
func explainLog(err error, nats bool, replicas int) error {
	switch {
	case errors.Is(err, eventlog.ErrSettings), errors.Is(err, eventlog.ErrNoLog), errors.Is(err, eventlog.ErrBackup):
		return err
	case errors.Is(err, eventlog.ErrInUse):
		return fmt.Errorf("%w; stop it, or choose another folder with --data", err)
	case errors.Is(err, eventlog.ErrElsewhere):
		return fmt.Errorf("%w; start the server with --nats, or, if nothing was published there, delete the file \"moved\" in the folder", err)
	case errors.Is(err, eventlog.ErrUnfinished):
		return fmt.Errorf("%w: wait until freshet restore or freshet move has ended; if it was interrupted, delete the log and start again", err)
	case errors.Is(err, eventlog.ErrLogExists) && nats:
		return fmt.Errorf("%w; delete it with its content, or use another NATS account", err)
	case errors.Is(err, eventlog.ErrLogExists):
		return fmt.Errorf("%w; choose another folder with --data, or delete the folder jetstream in it", err)
	case errors.Is(err, eventlog.ErrCredentials):
		return fmt.Errorf("%w; check --nats-creds", err)
	case errors.Is(err, eventlog.ErrRefused):
		return fmt.Errorf("%w; check --nats-creds, or the user and password in --nats", err)
	case replicas > 1:
		return fmt.Errorf("%w; check --nats and --replicas", err)
	case nats:
		return fmt.Errorf("%w; check --nats", err)
	}
	return fmt.Errorf("%w; check --data", err)
}

func (a *App) openKeys(cfg config.Config, logger *slog.Logger) (*auth.Keys, error) {
	// An operator who has configured keys, or a function, needs no token made here.
	if !a.token.configured && cfg.JWTSecret == "" && cfg.JWKSURL == "" && cfg.Authenticate == nil {
		var err error
		a.token.file = auth.PublishTokenFile(cfg.Data)
		if a.token.text, err = auth.PublishToken(cfg.Data); err != nil {
			return nil, err
		}
	}
	anonymous := cfg.Anonymous
	if cfg.Authenticate != nil {
		anonymous = nil
	}
	return auth.New(auth.Config{
		PublishToken: a.token.text,
		JWTSecret:    string(cfg.JWTSecret),
		JWKSURL:      cfg.JWKSURL,
		Audience:     cfg.JWTAudience,
		Issuer:       cfg.JWTIssuer,
		Anonymous:    anonymous,
		Authenticate: cfg.Authenticate,
		Logger:       logger,
	})
}

func openRelays(cfg config.Config, log *eventlog.Log, store *eventlog.Store, logger *slog.Logger) (*relay.Relays, error) {
	var sources []relay.Source
	for _, r := range cfg.Relays {
		sources = append(sources, relay.Source{Topic: r.Topic, URL: r.URL})
	}
	if cfg.RelayFile != "" {
		more, err := relay.ReadFile(cfg.RelayFile, os.LookupEnv)
		if err != nil {
			return nil, fmt.Errorf("--relay-file: %w", err)
		}
		sources = append(sources, more...)
	}
	relayConfig := relay.Config{Log: log, Sources: sources, Node: cfg.Node, MaxEvent: int(cfg.MaxBody), Logger: logger}
	if cfg.NATS != "" {
		relayConfig.Leases = store
	}
	relays, err := relay.New(relayConfig)
	if err != nil {
		return nil, fmt.Errorf("%w; check --relay and --relay-file", err)
	}
	return relays, nil
}

func (a *App) openHandlers(ctx context.Context, cfg config.Config, store *eventlog.Store, logger *slog.Logger) (*handlers.Handlers, error) {
	page, err := templates.Parse()
	if err != nil {
		return nil, err
	}
	if a.tickets, err = ticket.New(ctx, ticket.Config{Store: store, Logger: logger}); err != nil {
		return nil, err
	}
	var forOperators http.Handler
	if cfg.MetricsListen == "" {
		forOperators = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.metrics.ServeHTTP(w, r) })
	}
	return handlers.New(handlers.Config{
		Log:                      a.log,
		Hub:                      a.hub,
		Page:                     page,
		Assets:                   assets.Files(),
		OpenAPI:                  docs.OpenAPI(),
		CounterInterval:          orNone(cfg.CounterInterval),
		Heartbeat:                orNone(cfg.Heartbeat),
		Coalesce:                 orNone(cfg.Coalesce),
		RetryMin:                 cfg.Retry.Min,
		RetryMax:                 cfg.Retry.Max,
		MaxConnections:           orNone(a.descriptors.maxStreams(cfg.MaxConnections, logger)),
		MaxDescriptors:           a.descriptors.connections,
		MaxConnectionsPerAddress: orNone(cfg.MaxConnectionsPerAddress),
		MaxTopics:                orNone(cfg.MaxTopics),
		MaxBody:                  int64(cfg.MaxBody),
		CloudEvents:              cfg.CloudEvents,
		PublishRate:              cfg.PublishRate,
		Tickets:                  a.tickets,
		Nodes:                    a.log.Nodes(),
		Relays:                   a.relays.States,
		Metrics:                  forOperators,
		Backup:                   a.log.Backup,
		NoPark:                   cfg.Park == "off",
		Node:                     cfg.Node,
		Version:                  config.ThisBuild().Version,
		Logger:                   logger,
	})
}

// orNone turns the 0 of a flag, which means none, into the negative value of the packages, for which 0 means the default.
func orNone[T int | int64 | time.Duration](value T) T {
	if value == 0 {
		return -1
	}
	return value
}
