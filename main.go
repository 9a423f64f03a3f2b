// Freshet is an event server for browsers. A backend publishes with one HTTP POST; every
// browser that holds new EventSource('/event') gets the event, in order, with nothing
// lost across reconnects and restarts.
//
// The line that data takes is wired here in its order: log, hub, handlers, router.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"freshet/assets"
	"freshet/auth"
	"freshet/config"
	"freshet/event"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/hub"
	"freshet/middleware"
	"freshet/templates"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	cfg, err := config.Parse(os.Args[1:], os.Getenv, os.Stdout)
	if err == nil {
		err = serve(ctx, stop, cfg, os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, config.ErrPrinted) {
		fmt.Fprintln(os.Stderr, "freshet:", err)
		os.Exit(1)
	}
}

// How long the end may take beyond the drain: the last frames, then publishes in flight.
const (
	drainGrace    = 500 * time.Millisecond
	shutdownGrace = time.Second
)

// serve runs the server until ctx is done or a part of it fails, then ends it clean: what
// is under way is finished, streams are drained, the log is closed. From the drain on,
// stop has handed signals back to the system, so that a second one ends at once.
func serve(ctx context.Context, stop func(), cfg config.Config, stdout, stderr io.Writer) (err error) {
	logger := newLogger(cfg, stderr)
	// First, so that a taken port leaves no trace. Whoever comes early waits.
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close() // the server has closed it, if there was one
		}
	}()
	for _, address := range cfg.Listen {
		l, err := listenConfig().Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%w; choose another address with --listen", err)
		}
		listeners = append(listeners, l)
	}
	certs, err := openCertificates(cfg, logger)
	if err != nil {
		return err
	}
	a, err := newApp(ctx, cfg, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.log.Close()) }()

	server := newServer(a.router, logger)
	serveOn := server.Serve
	if certs != nil {
		server.TLSConfig = certs.TLS()
		serveOn = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}

	// The line runs on while the server drains, so it has a context of its own.
	line, endLine := context.WithCancel(context.WithoutCancel(ctx))
	defer endLine()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.hub.Run(line) })
	g.Go(func() error { return a.handlers.Run(line) })
	g.Go(func() error { return returnMemory(line, a.handlers.Opened) })
	g.Go(func() error {
		a.keys.Fetch(ctx)
		return nil
	})
	g.Go(func() error {
		defer endLine()
		select {
		case <-a.hub.CaughtUp(): // before, "now" is in the past
		case <-ctx.Done():
			return nil
		}
		for _, l := range listeners {
			g.Go(func() error {
				if err := serveOn(l); !errors.Is(err, http.ErrServerClosed) {
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
		logger.Info("draining", "for", cfg.Drain.String())
		drain(a, server, cfg.Drain, logger)
		return nil
	})
	return g.Wait()
}

// maxStreams is how many requests one connection of HTTP/2 has open at once.
const maxStreams = 250

// peerTimeout is how long a peer may acknowledge nothing of what it was sent, or of the
// probes to an idle one, before its connection is ended. With a heartbeat before it, a peer
// that vanished is gone within a minute.
const peerTimeout = 40 * time.Second

// newServer bounds how long a request and its answer may take on their way. The timeouts
// end with the request, and leave its stream alone: the handler moves on the one for
// writing as long as its reader takes something.
//
// HTTP/2 is spoken over TLS, and without it to those who know that beforehand: proxies.
func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   handler,
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			// All tabs of a browser share a connection; a proxy opens another when one is full. It bounds
			// what one that opens and resets streams can have under way.
			MaxConcurrentStreams: maxStreams,
			// Of a peer that takes nothing at all, where the system does not end it. Its streams have stalled before.
			WriteByteTimeout: peerTimeout,
		},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // with the body, also one that no handler reads
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// drain ends the streams, then the requests in flight, then whatever is left.
func drain(a *app, server *http.Server, span time.Duration, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), span+drainGrace)
	defer cancel()
	if err := a.handlers.Drain(ctx, span); err != nil {
		logger.Warn("streams are left", "error", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		logger.Warn("requests are left", "error", errors.Join(err, server.Close()))
	}
}

// app is the wired application, before anything of it runs.
type app struct {
	log      *eventlog.Log
	hub      *hub.Hub
	keys     *auth.Keys
	handlers *handlers.Handlers
	router   *gin.Engine
	token    publishToken
}

// publishToken is what publishers show; it was configured, or made at the first start. Its
// text is empty where they have JSON web tokens alone.
type publishToken struct {
	text       string
	configured bool
}

// newApp wires the application. Whoever gets it closes its log.
func newApp(ctx context.Context, cfg config.Config, logger *slog.Logger) (_ *app, err error) {
	a := &app{token: publishToken{string(cfg.PublishToken), cfg.PublishToken != ""}}
	if a.log, err = openLog(ctx, cfg, logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.log.Close())
		}
	}()
	// With keys of the operator's own, nobody needs a token that is made here.
	if !a.token.configured && cfg.JWTSecret == "" && cfg.JWKSURL == "" {
		if a.token.text, err = auth.PublishToken(cfg.Data); err != nil {
			return nil, err
		}
	}
	var anonymous event.Patterns
	for _, text := range cfg.Anonymous {
		p, err := event.ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("--anonymous: %w", err)
		}
		anonymous = append(anonymous, p)
	}
	if a.keys, err = auth.New(auth.Config{
		PublishToken: a.token.text,
		JWTSecret:    string(cfg.JWTSecret),
		JWKSURL:      cfg.JWKSURL,
		Audience:     cfg.JWTAudience,
		Issuer:       cfg.JWTIssuer,
		Anonymous:    anonymous,
		Logger:       logger,
	}); err != nil {
		return nil, err
	}
	if a.hub, err = hub.New(ctx, a.log, hub.Config{WindowBytes: int64(cfg.WindowBytes), Replays: cfg.MaxReplays}); err != nil {
		return nil, err
	}
	page, err := templates.Parse()
	if err != nil {
		return nil, err
	}
	files, err := assets.Files()
	if err != nil {
		return nil, err
	}
	node, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	store, err := a.log.Tickets(ctx)
	if err != nil {
		return nil, err
	}
	tickets, err := auth.NewTickets(auth.TicketsConfig{Store: store, Logger: logger})
	if err != nil {
		return nil, err
	}
	a.handlers, err = handlers.New(handlers.Config{
		Log:                      a.log,
		Hub:                      a.hub,
		Page:                     page,
		Assets:                   files,
		CounterInterval:          cfg.CounterInterval,
		Heartbeat:                cfg.Heartbeat,
		RetryMin:                 cfg.Retry.Min,
		RetryMax:                 cfg.Retry.Max,
		MaxConnections:           cfg.MaxConnections,
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
	if err != nil {
		return nil, err
	}
	a.router, err = newRouter(a.handlers, a.keys, cfg.CORSOrigins, cfg.TrustedProxies, logger)
	return a, err
}

func newRouter(h *handlers.Handlers, keys *auth.Keys, origins []string, proxies []netip.Prefix, logger *slog.Logger) (*gin.Engine, error) {
	cors, err := middleware.CORS(origins)
	if err != nil {
		return nil, err
	}
	r := gin.New()
	r.RedirectTrailingSlash = false // a redirect would pass by the middleware
	r.HandleMethodNotAllowed = true
	// This header alone: proxies that append to it pass on any other as a client has made it up.
	r.RemoteIPHeaders = []string{"X-Forwarded-For"}
	var trusted []string
	for _, p := range proxies {
		trusted = append(trusted, p.String())
	}
	if err := r.SetTrustedProxies(trusted); err != nil {
		return nil, err
	}
	r.Use(
		middleware.RequestID(),
		middleware.Log(logger),
		middleware.Recover(logger),
		middleware.Secure(),
		cors,
		middleware.Authenticate(keys, origins),
	)
	h.Register(r)
	r.NoRoute(h.NoRoute)
	r.NoMethod(h.NoMethod)
	return r, nil
}

// openLog opens the log as configured; its errors say which flag to turn to.
func openLog(ctx context.Context, cfg config.Config, logger *slog.Logger) (*eventlog.Log, error) {
	log, err := eventlog.Open(ctx, eventlog.Config{
		Dir:            cfg.Data,
		SyncInterval:   cfg.Sync.Interval,
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
	case errors.Is(err, eventlog.ErrInUse):
		return nil, fmt.Errorf("%w; stop it, or choose another folder with --data", err)
	case err != nil && cfg.NATS != "":
		return nil, fmt.Errorf("%w; check --nats, --nats-creds and --replicas", err)
	case err != nil:
		return nil, fmt.Errorf("%w; check --data", err)
	}
	return log, err
}

func newLogger(cfg config.Config, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.Log == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// printReady tells a newcomer what to do next, with lines that work when pasted.
func printReady(out io.Writer, base string, token publishToken, anonymous bool) {
	dashboard, bearer, note := base+"/#token="+token.text, token.text, ""
	switch {
	case token.text == "":
		dashboard, bearer, note = base+"/", "$TOKEN", "\n             where TOKEN is a JSON web token that may publish to news"
	case token.configured: // its owner knows it; a terminal's history need not
		dashboard, bearer, note = base+"/", "$FRESHET_PUBLISH_TOKEN", "\n             where FRESHET_PUBLISH_TOKEN is the configured publish token"
	}
	credential := ""
	if !anonymous {
		credential = `-H "Authorization: Bearer ` + bearer + `" `
	}
	fmt.Fprintf(out, `freshet is ready

  dashboard  %s
  publish    curl -H "Authorization: Bearer %s" -d hello %s/event/news%s
  subscribe  curl -N %s%s/event

`, dashboard, bearer, base, note, credential, base)
}
