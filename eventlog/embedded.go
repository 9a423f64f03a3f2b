package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server with JetStream within this process; it listens nowhere. After
// a failed write JetStream stores nothing more until it is started anew: that is done once
// the disk takes data again, and to its connection it is a server that was away for a moment.
type embedded struct {
	cfg    Config
	lock   *flock.Flock // the data folder's, held as long as this lives: two servers on one folder would ruin it
	server atomic.Pointer[server.Server]

	mu       sync.Mutex
	writable context.Context //nolint:containedctx // done while the log cannot be written; its cause says why
	fail     context.CancelCauseFunc

	watched chan struct{} // closed once nobody watches any more
	quit    context.CancelFunc
}

// healInterval is how often a log that cannot be written is tried, and the folder looked at.
const healInterval = time.Second

// startEmbedded takes the data folder, making it where it is missing, and starts the server.
func startEmbedded(cfg Config) (*embedded, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder %s: %w", cfg.Dir, err)
	}
	e := &embedded{cfg: cfg, lock: flock.New(filepath.Join(cfg.Dir, "lock"))}
	held, err := e.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder %s: %w", cfg.Dir, err)
	}
	if !held {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, ErrInUse)
	}
	e.mend()
	if err := e.start(); err != nil {
		return nil, errors.Join(err, e.lock.Unlock())
	}
	return e, nil
}

func (e *embedded) start() error {
	logs := &serverLog{logger: e.cfg.Logger, broke: e.broke}
	s, err := server.NewServer(&server.Options{
		ServerName:        "freshet",
		DontListen:        true,
		NoSigs:            true,
		MaxPayload:        int32(e.cfg.MaxEvent + headerRoom),
		JetStream:         true,
		StoreDir:          e.cfg.Dir,
		JetStreamMaxStore: 1 << 62, // what is kept is bounded by the stream's own limits
		SyncAlways:        e.cfg.SyncInterval == 0,
		SyncInterval:      e.cfg.SyncInterval,
	})
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	s.SetLoggerV2(logs, false, false, false)
	s.Start()
	if !s.ReadyForConnections(2*answerTimeout) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("open the log in %s: %s", e.cfg.Dir, logs.fatal())
	}
	e.server.Store(s)
	return nil
}

// InProcessConn connects to the server that runs now.
func (e *embedded) InProcessConn() (net.Conn, error) { return e.server.Load().InProcessConn() }

// broke notes why the log cannot be written. The first reason stands.
func (e *embedded) broke(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(err)
}

// mend notes that the log can be written.
func (e *embedded) mend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writable, e.fail = context.WithCancelCause(context.Background())
}

// state is done while the log cannot be written; its cause says why.
func (e *embedded) state() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writable
}

// watch looks after the server until close. check is asked whether a server that was
// started anew has all that it had.
func (e *embedded) watch(check func(context.Context) error) {
	ctx, quit := context.WithCancel(context.Background())
	e.quit, e.watched = quit, make(chan struct{})
	go func() {
		defer close(e.watched)
		tick := time.NewTicker(healInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				e.look(ctx, check)
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (e *embedded) look(ctx context.Context, check func(context.Context) error) {
	if err := e.removed(); err != nil {
		e.mend() // this reason is above any other
		e.broke(err)
		return
	}
	if !e.server.Load().JetStreamEnabled() {
		e.broke(errors.New("JetStream has given up"))
	}
	if e.state().Err() == nil || e.probe() != nil {
		return
	}
	err := e.restart(false)
	if err == nil {
		err = check(ctx)
	}
	switch {
	case errors.Is(err, ErrRenewed):
		e.mend()
		e.broke(err)
	case err != nil:
		e.cfg.Logger.Warn("the log cannot be written yet", "error", err)
	default:
		e.mend()
		e.cfg.Logger.Info("the log can be written again")
	}
}

// removed is an error if the data folder is not the one that was locked: whatever is
// appended would be lost.
func (e *embedded) removed() error {
	held, err := e.lock.Stat()
	if err != nil {
		return err
	}
	found, err := os.Stat(e.lock.Path())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(held, found) {
		return fmt.Errorf("%w: the data folder %s was removed or replaced", ErrRenewed, e.cfg.Dir)
	}
	return nil
}

// probe is nil if the disk takes the largest event and some.
func (e *embedded) probe() error {
	f, err := os.Create(filepath.Join(e.cfg.Dir, "probe"))
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, e.cfg.MaxEvent+1<<20))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// restart starts the server anew; rebuild has it read all events to find what it holds.
func (e *embedded) restart(rebuild bool) error {
	e.stop()
	if rebuild {
		index := filepath.Join(e.cfg.Dir, server.JetStreamStoreDir, "$G", "streams", streamName, "msgs", "index.db")
		if err := os.Remove(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return e.start()
}

func (e *embedded) stop() {
	s := e.server.Load()
	s.Shutdown()
	s.WaitForShutdown()
}

// close ends the server and lets the folder go.
func (e *embedded) close() error {
	if e.quit != nil {
		e.quit()
		<-e.watched
	}
	e.stop()
	return e.lock.Unlock()
}

// headerRoom is what a message may hold beside its payload: subject, type, key.
const headerRoom = 64 << 10

// serverLog passes on what the embedded server says: its notices are our debug records.
type serverLog struct {
	logger *slog.Logger
	broke  func(error)
	last   atomic.Pointer[string] // the last fatal text
}

func (l *serverLog) fatal() string {
	if text := l.last.Load(); text != nil {
		return *text
	}
	return "the embedded NATS server did not start in time"
}

func (l *serverLog) log(level func(string, ...any), format string, args []any) {
	level("nats", "text", fmt.Sprintf(format, args...))
}

func (l *serverLog) Noticef(format string, v ...any) { l.log(l.logger.Debug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log(l.logger.Warn, format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

// Errorf also looks for what the server tells in no other way: after a failed write it
// answers no append of the stream any more, until it is started anew.
func (l *serverLog) Errorf(format string, v ...any) {
	l.log(l.logger.Error, format, v)
	if text := fmt.Sprintf(format, v...); strings.Contains(text, "ritical write error: ") {
		_, reason, _ := strings.Cut(text, "ritical write error: ")
		l.broke(errors.New(reason))
	}
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.last.Store(&text)
}
