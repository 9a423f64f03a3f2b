package eventlog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
)

// startEmbedded starts a NATS server with JetStream within this process; it listens
// nowhere. The data folder is locked for as long as it runs: two servers on one folder
// would ruin it. broke is called with the reason once the log can no longer be written.
// stop ends the server and lets the folder go.
func startEmbedded(cfg Config, broke func(error)) (*server.Server, func(), error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the data folder %s: %w", cfg.Dir, err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, "lock"))
	held, err := lock.TryLock()
	if err != nil {
		return nil, nil, fmt.Errorf("lock the data folder %s: %w", cfg.Dir, err)
	}
	if !held {
		return nil, nil, fmt.Errorf("%s: %w", cfg.Dir, ErrInUse)
	}

	logs := &serverLog{logger: cfg.Logger, broke: broke}
	s, err := server.NewServer(&server.Options{
		ServerName:        "freshet",
		DontListen:        true,
		NoSigs:            true,
		MaxPayload:        int32(cfg.MaxEvent + headerRoom),
		JetStream:         true,
		StoreDir:          cfg.Dir,
		JetStreamMaxStore: 1 << 62, // what is kept is bounded by the stream's own limits
		SyncAlways:        cfg.SyncInterval == 0,
		SyncInterval:      cfg.SyncInterval,
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("embedded NATS: %w", err), lock.Unlock())
	}
	s.SetLoggerV2(logs, false, false, false)
	s.Start()
	stop := func() {
		s.Shutdown()
		s.WaitForShutdown()
		if err := lock.Unlock(); err != nil {
			cfg.Logger.Error("unlock the data folder", "error", err)
		}
	}
	if !s.ReadyForConnections(2*answerTimeout) || !s.JetStreamEnabled() {
		stop()
		return nil, nil, fmt.Errorf("open the log in %s: %s", cfg.Dir, logs.fatal())
	}
	return s, stop, nil
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
