package handlers

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"
	"freshet/hub"
	"freshet/limit"
	"freshet/relay"
	"freshet/stream"
	"freshet/stream/park"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

// Log is what the handlers need of the log beside the hub.
type Log interface {
	Append(ctx context.Context, entry eventlog.Entry) eventlog.Receipt
	AppendAll(ctx context.Context, entries []eventlog.Entry) []eventlog.Receipt
	End(ctx context.Context, topic event.Topic, key string, ttl event.TTL, last ...eventlog.Entry) eventlog.Receipt
	LinesOf(ctx context.Context, topic event.Topic, key string) (eventlog.Lines, error)
	Ended(ctx context.Context, topic event.Topic) (seq uint64, err error)
	Purge(ctx context.Context, topic event.Topic) (id event.ID, deleted uint64, err error)
	State(ctx context.Context) (eventlog.State, error)
	Ready(ctx context.Context) error
	Stats() eventlog.Stats
}

// Defaults of a [Config].
const (
	DefaultCounterInterval          = time.Second
	DefaultHeartbeat                = 15 * time.Second
	DefaultCoalesce                 = 30 * time.Millisecond
	DefaultLeastRetry               = time.Second
	DefaultMostRetry                = 3 * time.Second
	DefaultMaxConnections           = 100_000
	DefaultMaxConnectionsPerAddress = 10_000
	DefaultMaxTopics                = 100
	DefaultMaxBody                  = 1 << 20
)

// Config wires the handlers. Log and Hub are needed. Any other zero value stands for the server's default. A negative interval or limit
// turns it off.
type Config struct {
	Log Log
	Hub *hub.Hub

	Page   *template.Template // has "index.html"; nil: no page
	Assets fs.FS              // what /assets/ serves; nil: nothing
	// OpenAPI is what /openapi.yaml serves: the description of this API, as YAML; empty: nothing.
	OpenAPI string

	CounterInterval    time.Duration // between the counts of a connection
	Heartbeat          time.Duration // after so long without an ID a stream sends its cursor
	Coalesce           time.Duration // how long joined lines of a publisher are gathered for one event
	RetryMin, RetryMax time.Duration // each connection draws its reconnection time between them

	// A client's address is what the router's ClientIP returns. Tell the router which proxies
	// to trust, or none: gin.Engine trusts all unless SetTrustedProxies is called. IPv6
	// addresses count by their /64.
	MaxConnections           int   // open streams, as [stream.Config] counts them
	MaxConnectionsPerAddress int   // open streams of one client address
	MaxTopics                int   // topics of one stream
	MaxBody                  int64 // bytes of a published body; not negative
	// CloudEvents makes POST /event/{topic} take CloudEvents; otherwise they are data like any other.
	CloudEvents bool
	// PublishRate is how many events a second the subject of a token may publish, with a burst
	// of ten seconds' worth. Requests with the publish token count by client address, because
	// many publishers share it. 0 or negative: no limit.
	PublishRate int

	// NoPark gives each stream a goroutine. Otherwise caught-up streams over plain HTTP/1.1 have none, on
	// systems that support it.
	NoPark bool
	// MaxDescriptors is above the numbers that the descriptors of parked connections have; 0: no limit.
	MaxDescriptors int

	// Tickets authenticate browsers, which cannot send a token; nil: there are none.
	Tickets *ticket.Tickets

	// Nodes exchanges stats with the other nodes, and asks them about their streams; nil: this node stays alone.
	Nodes Nodes

	// Metrics serves GET /metrics, to operators; nil: there is none.
	Metrics http.Handler

	// Backup begins a backup for GET /backup, which is for operators; nil: there is none. It is the log's method.
	Backup func(context.Context) (*eventlog.Backup, error)

	// Relays returns the states of this node's relays, for stats; nil: there are none.
	Relays func() []relay.State

	Node    string       // this server's name in stats
	Version string       // shown on the page
	Logger  *slog.Logger // nil: logs nothing
}

// Handlers serves one log and hub.
type Handlers struct {
	cfg         Config
	log         Log
	hub         *hub.Hub
	logger      *slog.Logger
	streams     *stream.Registry
	park        *park.Park // nil: streams stay with their goroutines
	stats       stats
	publishes   publishes
	errors      errorCounts
	countError  func(code string)
	nodes       nodes
	page        file // GET /
	openAPI     file // GET /openapi.yaml
	assets      map[string]file
	publishRate *limit.Rate[publisher]
	// addressPages counts the history requests of each network, including those that wait.
	addressPages *limit.Concurrency[netip.Prefix]

	backups  sync.Mutex      // held by the one that runs
	draining context.Context //nolint:containedctx // ends the backup when the drain begins
	drain    context.CancelFunc
}

// New returns handlers for the configuration, or an error that says what is wrong with it.
func New(cfg Config) (*Handlers, error) {
	cfg.CounterInterval = orDefault(cfg.CounterInterval, DefaultCounterInterval)
	cfg.Heartbeat = orDefault(cfg.Heartbeat, DefaultHeartbeat)
	cfg.Coalesce = orDefault(cfg.Coalesce, DefaultCoalesce)
	cfg.RetryMin = cmp.Or(cfg.RetryMin, DefaultLeastRetry)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, max(DefaultMostRetry, cfg.RetryMin))
	cfg.MaxConnections = orDefault(cfg.MaxConnections, DefaultMaxConnections)
	cfg.MaxConnectionsPerAddress = orDefault(cfg.MaxConnectionsPerAddress, DefaultMaxConnectionsPerAddress)
	cfg.MaxTopics = orDefault(cfg.MaxTopics, DefaultMaxTopics)
	cfg.MaxBody = cmp.Or(cfg.MaxBody, DefaultMaxBody)
	cfg.PublishRate = max(cfg.PublishRate, 0)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Log == nil || cfg.Hub == nil:
		return nil, errors.New("handlers: a log and a hub are needed")
	case cfg.MaxBody < 0:
		return nil, errors.New("handlers: MaxBody is negative")
	}
	h := &Handlers{
		cfg: cfg, log: cfg.Log, hub: cfg.Hub, logger: cfg.Logger, errors: newErrorCounts(),
		publishRate:  newPublishRate(cfg.PublishRate),
		addressPages: limit.NewConcurrency[netip.Prefix](maxAddressPages),
	}
	h.draining, h.drain = context.WithCancel(context.Background())
	h.countError = h.errors.add
	h.nodes.others, h.nodes.logger = map[string]received{}, cfg.Logger
	if cfg.Nodes != nil {
		h.nodes.id = cfg.Nodes.ID()
	}
	h.nodes.setOwn(nodeStats{Node: cfg.Node, NodeID: h.nodes.id})
	var err error
	if h.streams, err = stream.New(stream.Config{
		Hub:             cfg.Hub,
		CounterInterval: cfg.CounterInterval,
		StatsInterval:   statsInterval,
		Stats:           h.stats.latest.Load,
		Heartbeat:       cfg.Heartbeat,
		RetryMin:        cfg.RetryMin,
		RetryMax:        cfg.RetryMax,
		MaxStreams:      cfg.MaxConnections,
		MaxPerAddress:   cfg.MaxConnectionsPerAddress,
		Logger:          cfg.Logger,
	}); err != nil {
		return nil, err
	}
	if !cfg.NoPark {
		if h.park, err = park.New(h.streams, park.Config{MaxDescriptors: cfg.MaxDescriptors}); err != nil && !errors.Is(err, park.ErrUnsupported) {
			return nil, err
		}
	}
	if cfg.Page != nil {
		if h.page, err = renderPage(cfg.Page, cfg.Version); err != nil {
			return nil, err
		}
	}
	if cfg.OpenAPI != "" {
		h.openAPI = newCompressor().newFile("openapi.yaml", []byte(cfg.OpenAPI))
	}
	if cfg.Assets != nil {
		if h.assets, err = loadAssets(cfg.Assets); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// orDefault returns the default for 0, and 0, which the parts take for none, for a negative value.
func orDefault[T int | time.Duration](value, byDefault T) T { return max(cmp.Or(value, byDefault), 0) }

// Register adds the routes to the router.
func (h *Handlers) Register(r gin.IRouter) {
	reads := []string{http.MethodGet, http.MethodHead}
	streaming, paging := append([]string{"topic", "since", "merge"}, lastEventIDs...), []string{"topic", "since", "limit", "cursor"}
	publishing := []string{"type", "ttl", "end", "join", "line"}
	if h.cfg.Tickets != nil {
		streaming, paging, publishing = append(streaming, "ticket"), append(paging, "ticket"), append(publishing, "ticket")
		r.POST("/ticket", takes(), orFail(h.issueTicket))
		r.DELETE("/ticket", takes("subject"), orFail(h.revokeTickets))
		r.DELETE("/ticket/:id", takes(), orFail(h.revokeTicket))
	}
	r.GET("/event", takes(streaming...), h.streamEvents)
	r.GET("/event/:topic", takes(streaming...), h.streamEvents)
	r.POST("/event", takes("type", "ttl"), orFail(h.publishMany))
	r.POST("/event/:topic", takes(publishing...), orFail(h.publish))
	r.DELETE("/event/:topic", takes(), orFail(h.purge))
	r.Match(reads, "/history", takes(paging...), orFail(h.history))
	r.Match(reads, "/connections", takes("limit", "node"), orFail(h.listConnections))
	r.DELETE("/connections/:id", takes("node"), orFail(h.endConnection))
	if h.cfg.Backup != nil {
		r.GET("/backup", takes(), orFail(h.backup))
	}
	r.Match(reads, "/livez", h.livez)
	r.Match(reads, "/readyz", orFail(h.readyz))
	if h.cfg.Metrics != nil {
		r.Match(reads, "/metrics", takes(), orFail(h.serveMetrics))
	}
	if h.cfg.Page != nil {
		r.Match(reads, "/", h.servePage)
	}
	if h.cfg.OpenAPI != "" {
		r.Match(reads, "/openapi.yaml", h.openAPI.serve)
	}
	if h.assets != nil {
		r.Match(reads, "/assets/*name", orFail(h.serveAsset))
	}
}

// Run runs the park, the tickets, the stats and their exchange with other nodes until ctx is
// done. It returns [eventlog.ErrRenewed] if the log was replaced by another one.
func (h *Handlers) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.runStats(ctx) })
	if h.park != nil {
		g.Go(func() error { return h.park.Run(ctx) })
	}
	if h.cfg.Nodes != nil {
		g.Go(func() error { return h.cfg.Nodes.Listen(ctx, h.nodes.hear, h.answerNode) })
	}
	if h.cfg.Tickets != nil {
		g.Go(func() error {
			return h.cfg.Tickets.Run(ctx, func(revoked func(auth.Caller) bool) { h.streams.StopMatching(revoked, stream.Expired) })
		})
	}
	return g.Wait()
}

// Drain refuses new streams and ends the open ones, spread over at most span. Each client
// gets a reconnection time of its own and the event drain. A backup ends at once. Drain returns once the last
// stream has ended, or with ctx's error.
func (h *Handlers) Drain(ctx context.Context, span time.Duration) error {
	h.drain()
	return h.streams.Drain(ctx, span)
}

// Turnover is how many streams have been opened since the start, and how many have ended, in sum.
func (h *Handlers) Turnover() uint64 { return h.streams.Turnover() }

// Parked is how many of the open streams are held without a goroutine each.
func (h *Handlers) Parked() int {
	if h.park == nil {
		return 0
	}
	return h.park.Len()
}
