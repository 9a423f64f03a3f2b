package natsconn

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

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
)

// Server is the embedded NATS server.
type Server struct {
	cfg    Config
	lock   *flock.Flock // of the data folder: a second server would corrupt it
	server atomic.Pointer[server.Server]

	mu       sync.Mutex
	writable context.Context //nolint:containedctx // canceled while nothing can be stored; its cause is the reason
	fail     context.CancelCauseFunc

	unhealed string // why the last restart failed; the watcher's

	watcher     sync.WaitGroup
	stopWatcher context.CancelFunc
}

// startServer locks the data folder, creating it if missing, and starts the server.
func startServer(cfg Config) (*Server, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder %s: %w", cfg.Dir, err)
	}
	s := &Server{cfg: cfg, lock: flock.New(filepath.Join(cfg.Dir, "lock")), stopWatcher: func() {}}
	locked, err := s.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder %s: %w", cfg.Dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, ErrInUse)
	}
	s.reset(nil)
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.lock.Unlock())
	}
	return s, nil
}

func (s *Server) start() error {
	n, err := server.NewServer(&server.Options{
		ServerName:   "freshet",
		DontListen:   true,
		NoSigs:       true,
		MaxPayload:   int32(s.cfg.MaxPayload),
		SyncAlways:   s.cfg.SyncInterval == 0,
		SyncInterval: s.cfg.SyncInterval,
	})
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	n.SetLoggerV2(serverLog{s.cfg.Logger, s.setUnwritable}, false, false, false)
	n.Start()
	// The stream has limits of its own; JetStream needs none.
	err = n.EnableJetStream(&server.JetStreamConfig{StoreDir: s.cfg.Dir, MaxStore: 1 << 62})
	if err == nil && !n.ReadyForConnections(2*startTimeout) {
		err = errors.New("the embedded NATS server did not start in time")
	}
	if err != nil {
		n.Shutdown()
		n.WaitForShutdown()
		return fmt.Errorf("open the log in %s: %w", s.cfg.Dir, err)
	}
	s.server.Store(n)
	return nil
}

func (s *Server) stop() {
	n := s.server.Load()
	n.Shutdown()
	n.WaitForShutdown()
}

// InProcessConn connects to the server that runs now.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server.Load().InProcessConn() }

// Rebuild restarts the server without the stream's index, so that it reads every stored
// event to find what the stream holds.
func (s *Server) Rebuild(stream string) error {
	s.stop()
	index := filepath.Join(s.cfg.Dir, server.JetStreamStoreDir, "$G", "streams", stream, "msgs", "index.db")
	if err := os.Remove(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.start()
}

func (s *Server) close() error {
	if s == nil {
		return nil
	}
	s.stopWatcher()
	s.watcher.Wait()
	s.stop()
	return s.lock.Unlock()
}

// serverLog logs what the embedded server reports; its notices become debug records.
type serverLog struct {
	logger        *slog.Logger
	setUnwritable func(error)
}

func (l serverLog) Noticef(format string, v ...any) {
	l.logger.Debug("nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	if strings.Contains(format, "state is outdated") { // after a crash or an upgrade; the server makes up for it
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, "nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Fatalf(format string, v ...any) {
	l.logger.Error("nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(string, ...any) {}
func (l serverLog) Tracef(string, ...any) {}

// Errorf also looks for failed writes: the log is the only place where the server reports
// them, and the stream then answers no append until a restart.
func (l serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	level := slog.LevelError
	if _, reason, found := strings.Cut(text, "ritical write error: "); found {
		l.setUnwritable(errors.New(reason)) // logs it once
		level = slog.LevelDebug
	} else if strings.HasPrefix(text, "JetStream failed to store a msg") { // its publisher gets the reason
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, "nats", "text", text)
}
