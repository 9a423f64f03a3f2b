package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/event"
	"freshet/eventlog/natsconn"
	"freshet/limit"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// What a log keeps by default.
const (
	DefaultRetainAge   = 24 * time.Hour
	DefaultRetainBytes = 1 << 30
)

// Config says where the log is and how much it keeps. A zero value stands for the server's default.
type Config struct {
	Node string // names the connection to an external NATS; empty: no name

	Dir          string        // data folder of the embedded server; created if missing
	SyncInterval time.Duration // 0: sync to disk before an append is answered; else at this interval (embedded only)

	NATS     string // URLs of an external NATS with JetStream, comma-separated; empty: embedded
	Creds    string // credentials file for NATS
	Replicas int    // copies that the external cluster keeps; 0 means 1
	// UpdateStream lets Open change the settings of the external NATS's stream, for all nodes.
	UpdateStream bool

	RetainAge      time.Duration // 0 means 24 h; negative: no limit
	RetainBytes    int64         // 0 means 1 GiB; negative: no limit
	RetainPerTopic int64         // events of each topic; 0 or negative: no limit
	Retain         []Retention   // for the events that this Log appends; the first one that selects the topic counts

	MaxEvent int64 // bytes of the largest payload (embedded only); 0 means 1 MiB

	// TraceOf returns the trace of an append, which the log stores with its events and returns from its tail. nil: the log
	// neither stores nor reads traces.
	TraceOf func(context.Context) event.Trace
	Logger  *slog.Logger // nil: no logs

	existing bool // open only a stream that exists, with the settings that it has
}

func (c Config) withDefaults() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.MaxEvent = cmp.Or(c.MaxEvent, 1<<20)
	switch {
	case c.NATS == "" && c.Dir == "":
		return c, errors.New("the log needs a data folder or a NATS URL")
	case c.SyncInterval < 0 || c.MaxEvent < 0 || c.Replicas < 0:
		return c, errors.New("the log's SyncInterval, MaxEvent and Replicas must not be negative")
	}
	c.RetainAge = cmp.Or(c.RetainAge, DefaultRetainAge)
	c.RetainBytes = cmp.Or(c.RetainBytes, DefaultRetainBytes)
	return c, nil
}

const (
	streamName    = "freshet"
	subjectPrefix = "event."
	typeHeader    = "Event-Type"

	// dedupWindow is how long the log remembers idempotency keys.
	dedupWindow = 2 * time.Minute
	// answerTimeout bounds every request to JetStream.
	answerTimeout = 5 * time.Second
	// lostTimeout is the same for requests that are repeated, in a cluster: a server that freezes or an election
	// loses requests, and another server may answer the next one.
	lostTimeout = 2 * time.Second
	// headerRoom is added to the largest payload for the message's subject, type and key.
	headerRoom = 64 << 10
)

// Log is an open log.
type Log struct {
	epoch      uint64
	nc         *natsconn.Conn
	js         jetstream.JetStream
	stream     jetstream.Stream
	logger     *slog.Logger
	traceOf    func(context.Context) event.Trace // Config.TraceOf
	lastAcked  *lastAckedID                      // nil: the NATS is external
	openTopics openTopics                        // that have not ended, as far as this node knows
	consumers  consumerCache

	retryAfter  time.Duration // when a request that has no answer is repeated
	grouped     bool          // each append alone would cost an fsync or a round of the cluster
	group       groupCommit
	cannotStore atomic.Bool // the log says so
	retain      []Retention // Config.Retain
	holes       sync.Mutex  // held while the holes that the embedded log expects change
	expiring    atomic.Bool // the embedded log expects that events expire one by one
	skipLog     limit.Log
	turn        chan struct{}       // holds a token during a request that takes JetStream long, and a pause
	largeEvents int                 // how many events of the largest size are below maxLargeBytes
	largePulls  *semaphore.Weighted // so many events may be requested without a limit of bytes
	counters    counters
}

// Open opens the log, creating the data folder and the stream where they are missing. It
// returns [ErrInUse] for a data folder that another process holds, and [ErrCredentials] for a
// credentials file that cannot be used, [ErrSettings] for a stream with other settings, [ErrUnfinished] for one
// that is being restored, and [ErrElsewhere] for a data folder whose log continues elsewhere. [ErrUnavailable] means that a later call may succeed:
// the NATS cannot be reached, refuses the credentials (then it is also [ErrRefused]), or its
// JetStream is not ready, as during an election.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{logger: cfg.Logger, traceOf: cfg.TraceOf, retain: cfg.Retain, retryAfter: answerTimeout, grouped: cfg.NATS == "" && cfg.SyncInterval == 0 || cfg.Replicas > 1}
	if cfg.Replicas > 1 {
		l.retryAfter = lostTimeout
	}
	if cfg.NATS == "" {
		if err := checkMoved(cfg.Dir); err != nil {
			return nil, err
		}
	}
	l.nc, err = natsconn.Open(ctx, natsconn.Config{
		Name: strings.TrimSpace("freshet " + cfg.Node), URLs: cfg.NATS, Creds: cfg.Creds,
		Dir: cfg.Dir, SyncInterval: cfg.SyncInterval, MaxPayload: cfg.MaxEvent + headerRoom,
		Logger: cfg.Logger,
	})
	switch {
	case err != nil && cfg.NATS != "" && !errors.Is(err, ErrCredentials):
		return nil, unavailable{err}
	case err != nil:
		return nil, err
	}
	if err = l.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// unavailable is an error that is also [ErrUnavailable], without its text.
type unavailable struct{ error }

func (e unavailable) Unwrap() []error { return []error{ErrUnavailable, e.error} }

func (l *Log) open(ctx context.Context, cfg Config) (err error) {
	l.turn = make(chan struct{}, 1)
	l.largeEvents = int(max(1, maxLargeBytes/l.nc.MaxPayload()))
	l.largePulls = semaphore.NewWeighted(int64(l.largeEvents))
	if l.js, err = jetstream.New(l.nc.Conn); err != nil {
		return err
	}
	if l.stream, err = l.openStream(ctx, cfg); errors.Is(err, ErrSettings) || errors.Is(err, ErrUnfinished) {
		return err
	} else if err != nil {
		return fmt.Errorf("open the stream %q: %w", streamName, err)
	}
	if !l.stream.CachedInfo().Config.AllowAtomicPublish {
		return fmt.Errorf("NATS at %s is version %s; atomic batches need 2.12 or later", l.nc.ConnectedUrlRedacted(), l.nc.ConnectedServerVersion())
	}
	l.epoch = epochOf(l.stream.CachedInfo())
	fence, err := l.lastOf(ctx, streamName, fencePrefix+">")
	if err != nil {
		return fmt.Errorf("look for topics that have ended: %w", err)
	}
	l.openTopics.all.Store(fence == 0)
	if cfg.NATS == "" {
		return l.checkLoss(ctx, cfg)
	}
	l.logger.Info("log opened", "node", cfg.Node, "nats", l.nc.ConnectedUrlRedacted())
	return nil
}

// openError returns [ErrUnavailable] if JetStream may be ready later, else the error.
func openError(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable{errors.New("JetStream has no leader or no majority, or is slow")}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders):
		return unavailable{errors.New("JetStream is not enabled on the NATS server (nats-server -js enables it), or not ready")}
	case errors.As(err, &api) && (api.Code == http.StatusServiceUnavailable || api.ErrorCode == codeNoPeers):
		return unavailable{fmt.Errorf("JetStream is not ready: %s", api.Description)}
	case api != nil:
		return fmt.Errorf("NATS says: %s", api.Description)
	}
	return wrapError(err)
}

// State describes the log's content at one moment.
type State struct {
	First, Last uint64 // sequences of the first kept event and of the last appended one; First is Last+1 if none is kept
	Events      uint64
	Topics      uint64 // that have events
	Bytes       uint64
}

// State returns the log's current state.
func (l *Log) State(ctx context.Context) (State, error) {
	info, err := l.info(ctx)
	if err != nil {
		return State{}, err
	}
	return stateOf(info), nil
}

func stateOf(info *jetstream.StreamInfo) State {
	s := info.State
	return State{First: max(s.FirstSeq, 1), Last: s.LastSeq, Events: s.Msgs, Topics: s.NumSubjects, Bytes: s.Bytes}
}

func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	if err := l.writeError(); errors.Is(err, ErrRenewed) {
		return nil, err
	}
	ctx, cancel := l.withTimeout(ctx, answerTimeout)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return nil, wrapError(err)
	}
	if epoch := epochOf(info); epoch != l.epoch {
		return nil, ErrRenewed
	}
	return info, nil
}

// withTimeout returns a context for requests of this connection. It is also canceled when the
// connection is lost: they are then not answered.
func (l *Log) withTimeout(ctx context.Context, timeout time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	stop := context.AfterFunc(l.nc.Connected(), cancel)
	return ctx, func() { stop(); cancel() }
}

// Bounds returns the sequences of the first kept event and of the last appended one.
func (l *Log) Bounds(ctx context.Context) (first, last uint64, err error) {
	s, err := l.State(ctx)
	return s.First, s.Last, err
}

// Recent returns a cursor that about size bytes of events follow.
func (l *Log) Recent(ctx context.Context, size int64) (after uint64, err error) {
	s, err := l.State(ctx)
	if err != nil || s.Events == 0 {
		return s.Last, err
	}
	n := uint64(max(size, 0)) / (s.Bytes/s.Events + 1)
	return s.Last - min(n, s.Last-s.First+1), nil
}

// Ready returns nil if events can be appended and read, else [ErrFull], [ErrUnavailable], [ErrRefused] or [ErrRenewed].
func (l *Log) Ready(ctx context.Context) error {
	if err := l.writeError(); err != nil {
		return err
	}
	_, err := l.State(ctx)
	return err
}

// writeError returns nil if the log can be written: else [ErrFull], [ErrRefused], or [ErrRenewed]
// once it is no longer the log that was opened.
func (l *Log) writeError() error {
	if err := l.nc.Refused(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	err := context.Cause(l.nc.Server.Writable())
	if err == nil || errors.Is(err, ErrRenewed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// Epoch returns the epoch of the log's event IDs.
func (l *Log) Epoch() uint64 { return l.epoch }

// Close closes the log. Nothing may use it during the call or later. A second call does nothing.
func (l *Log) Close() error {
	l.consumers.close()
	l.nc.Conn.Close() // ends the requests in flight, and so the batches that wait for them
	l.group.commits.Wait()
	return errors.Join(l.lastAcked.close(), l.nc.Close())
}

// wrapError turns an error of JetStream or of the connection into one of this package.
func wrapError(err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && (api.ErrorCode == codeTooLarge ||
		api.ErrorCode == codeStoreFailed && api.Description == server.ErrMsgTooLarge.Error()): // a record of a file is at most 32 MiB
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.As(err, &api) && (api.ErrorCode == codeNoResources || api.ErrorCode == codeNoStorage || api.ErrorCode == codeStoreFailed):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.As(err, &api) && api.ErrorCode == codeNoTTL:
		return fmt.Errorf("%w: %w", ErrNoTTL, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected):
		return fmt.Errorf("%w: NATS is not connected", ErrUnavailable)
	case errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: its stream is gone or has no leader", ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Error codes of the JetStream API that nats.go does not name.
const (
	codeNoPeers     jetstream.ErrorCode = 10005 // no suitable peers for placement: servers of the cluster are away
	codeNoResources jetstream.ErrorCode = 10023 // insufficient resources
	codeNoStorage   jetstream.ErrorCode = 10047 // insufficient storage resources available
	codeTooLarge    jetstream.ErrorCode = 10054 // message size exceeds maximum allowed
	codeStoreFailed jetstream.ErrorCode = 10077 // general stream failure while storing
	// codeRestoreExists: stream name already in use, cannot restore.
	codeRestoreExists jetstream.ErrorCode = 10130
)
