package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where the log is and how much it keeps.
type Config struct {
	Dir          string        // data folder of the embedded server; made if missing
	SyncInterval time.Duration // 0: on disk before an append is answered; else at this interval (embedded only)

	NATS     string // URLs of an external NATS with JetStream, comma-separated; empty: embedded
	Creds    string // credentials file for NATS
	Replicas int    // copies that the external cluster keeps; 0 means 1

	RetainAge      time.Duration // 0: no limit
	RetainBytes    int64         // 0: no limit
	RetainPerTopic int64         // events of each topic; 0: no limit

	MaxEvent int64        // bytes of the largest payload (embedded only); 0 means 1 MiB
	Logger   *slog.Logger // nil: logs nothing
}

func (c Config) withDefaults() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.MaxEvent = cmp.Or(c.MaxEvent, 1<<20)
	switch {
	case c.NATS == "" && c.Dir == "":
		return c, errors.New("a data folder or a NATS URL is needed")
	case c.SyncInterval < 0 || c.RetainAge < 0 || c.RetainBytes < 0 || c.RetainPerTopic < 0 || c.MaxEvent < 0 || c.Replicas < 0:
		return c, errors.New("a limit of the log is negative")
	}
	return c, nil
}

const (
	streamName    = "freshet"
	subjectPrefix = "event."
	typeHeader    = "Event-Type"

	// dedupWindow is how long the log remembers idempotency keys.
	dedupWindow = 2 * time.Minute
	// answerTimeout bounds every question to JetStream whose context has no deadline.
	answerTimeout = 5 * time.Second
)

// Log is an open log.
type Log struct {
	epoch    uint64
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
	logger   *slog.Logger
	embedded *embedded // nil: the NATS is external
	mark     *mark     // nil: the NATS is external
	kept     kept
	shared   bool // appends are committed together: each alone costs an fsync, or a round of the cluster
	queue    queue
	large    chan struct{} // one token for each event that comes alone because of its size
}

// Open opens the log, making the data folder and the stream where they are missing. It
// returns [ErrInUse] for a data folder that another process holds and [ErrUnavailable]
// for a NATS that cannot be reached.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{logger: cfg.Logger, shared: cfg.NATS == "" && cfg.SyncInterval == 0 || cfg.Replicas > 1}
	options := []nats.Option{
		nats.Name("freshet"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: closed by Close
				cfg.Logger.Warn("NATS is gone", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cfg.Logger.Debug("NATS", "error", err) }),
		nats.ReconnectHandler(func(*nats.Conn) { cfg.Logger.Info("NATS is back") }),
		nats.ReconnectBufSize(-1), // fail at once while disconnected: the publisher is told, and retries
		nats.Timeout(answerTimeout),
	}
	if cfg.NATS == "" {
		if l.embedded, err = startEmbedded(cfg); err != nil {
			return nil, err
		}
		options = append(options, nats.InProcessServer(l.embedded))
	} else if cfg.Creds != "" {
		options = append(options, nats.UserCredentials(cfg.Creds))
	}
	err = l.connect(ctx, options, cfg)
	if err == nil && l.embedded != nil {
		err = l.guard(ctx, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Log) connect(ctx context.Context, options []nats.Option, cfg Config) error {
	var err error
	if l.nc, err = nats.Connect(cfg.NATS, options...); err != nil {
		return fmt.Errorf("NATS at %s: %w: %w", redacted(cfg.NATS), ErrUnavailable, err)
	}
	l.large = make(chan struct{}, max(1, largeBytes/l.nc.MaxPayload()))
	if l.js, err = jetstream.New(l.nc); err != nil {
		return err
	}
	if l.stream, err = l.openStream(ctx, cfg); err != nil {
		return fmt.Errorf("open the stream %q: %w", streamName, err)
	}
	if !l.stream.CachedInfo().Config.AllowAtomicPublish {
		return fmt.Errorf("NATS at %s is %s, which has no atomic batches: 2.12 or later is needed", redacted(cfg.NATS), l.nc.ConnectedServerVersion())
	}
	l.epoch = epochOf(l.stream.CachedInfo())
	return nil
}

// redacted hides the passwords of the URLs.
func redacted(urls string) string {
	var shown []string
	for text := range strings.SplitSeq(urls, ",") {
		if u, err := url.Parse(text); err == nil {
			text = u.Redacted()
		}
		shown = append(shown, text)
	}
	return strings.Join(shown, ",")
}

// openStream finds or makes the stream. What it keeps follows the configuration; whatever
// else an operator has set on an existing stream stays.
func (l *Log) openStream(ctx context.Context, cfg Config) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	stream, err := l.js.Stream(ctx, streamName)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return l.js.CreateOrUpdateStream(ctx, streamConfig(jetstream.StreamConfig{Storage: jetstream.FileStorage}, cfg))
	case err != nil:
		return nil, answer(err)
	}
	have := stream.CachedInfo().Config
	want := streamConfig(have, cfg)
	if reflect.DeepEqual(have, want) {
		return stream, nil
	}
	if stream, err = l.js.UpdateStream(ctx, want); err == nil {
		l.logger.Warn("what the log keeps has changed, for all that share it", "age", want.MaxAge, "bytes", want.MaxBytes,
			"per_topic", want.MaxMsgsPerSubject, "replicas", want.Replicas)
	}
	return stream, err
}

func streamConfig(base jetstream.StreamConfig, cfg Config) jetstream.StreamConfig {
	base.Name = streamName
	base.Subjects = []string{subjectPrefix + ">"}
	base.Replicas = cfg.Replicas
	base.MaxAge = cfg.RetainAge
	base.MaxBytes = cmp.Or(cfg.RetainBytes, -1)
	base.MaxMsgsPerSubject = cmp.Or(cfg.RetainPerTopic, -1)
	base.Discard = jetstream.DiscardOld
	base.Duplicates = dedupWindow
	if cfg.RetainAge > 0 {
		base.Duplicates = min(dedupWindow, cfg.RetainAge)
	}
	base.AllowAtomicPublish = true
	return base
}

// State is what the log holds at one moment.
type State struct {
	First, Last uint64 // sequences of the first event kept and the last one appended; First is Last+1 where none is kept
	Events      uint64
	Bytes       uint64
}

// State asks the log what it holds.
func (l *Log) State(ctx context.Context) (State, error) {
	if err := l.broken(); errors.Is(err, ErrRenewed) {
		return State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return State{}, answer(err)
	}
	if epoch := epochOf(info); epoch != l.epoch {
		return State{}, ErrRenewed
	}
	s := info.State
	return State{First: max(s.FirstSeq, 1), Last: s.LastSeq, Events: s.Msgs, Bytes: s.Bytes}, nil
}

// Bounds returns the sequences of the first event kept and of the last one appended.
func (l *Log) Bounds(ctx context.Context) (first, last uint64, err error) {
	s, err := l.State(ctx)
	return s.First, s.Last, err
}

// Recent returns a cursor behind which about so many bytes of events follow.
func (l *Log) Recent(ctx context.Context, size int64) (after uint64, err error) {
	s, err := l.State(ctx)
	if err != nil || s.Events == 0 {
		return s.Last, err
	}
	n := uint64(max(size, 0)) / (s.Bytes/s.Events + 1)
	return s.Last - min(n, s.Last-s.First+1), nil
}

// Ready returns nil if events can be appended and read: else [ErrFull] or [ErrUnavailable].
func (l *Log) Ready(ctx context.Context) error {
	if err := l.broken(); err != nil {
		return err
	}
	_, err := l.State(ctx)
	return err
}

// broken is [ErrFull] while the embedded log cannot be written, and [ErrRenewed] once it is
// no longer the one that was opened.
func (l *Log) broken() error {
	if l.embedded == nil {
		return nil
	}
	writable := l.embedded.state()
	if writable.Err() == nil {
		return nil
	}
	err := context.Cause(writable)
	if !errors.Is(err, ErrRenewed) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Epoch returns the epoch of the log's event IDs.
func (l *Log) Epoch() uint64 { return l.epoch }

// Close closes the log. Nothing may be under way in it. A second call does nothing.
func (l *Log) Close() error {
	l.kept.close()
	if l.nc != nil {
		l.nc.Close()
	}
	l.queue.batches.Wait()
	if l.embedded == nil {
		return nil
	}
	return errors.Join(l.embedded.close(), l.mark.close())
}

// answer turns what JetStream or the connection says into the package's errors.
func answer(err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.As(err, &api) && api.ErrorCode == codeTooLarge:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.As(err, &api) && (api.ErrorCode == codeNoResources || api.ErrorCode == codeNoStorage || api.ErrorCode == codeStoreFailed):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Error codes of the JetStream API that nats.go has no name for.
const (
	codeNoResources jetstream.ErrorCode = 10023 // insufficient resources
	codeNoStorage   jetstream.ErrorCode = 10047 // insufficient storage resources available
	codeTooLarge    jetstream.ErrorCode = 10054 // message size exceeds maximum allowed
	codeStoreFailed jetstream.ErrorCode = 10077 // general stream failure while storing
)
