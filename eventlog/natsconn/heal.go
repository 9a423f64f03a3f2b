package natsconn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// healInterval is how often the data folder is checked, and a restart tried where needed.
const healInterval = time.Second

// setUnwritable notes and logs why nothing can be stored. The first reason stays.
func (s *Server) setUnwritable(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writable.Err() == nil {
		s.cfg.Logger.Error("the log cannot be written, so new events are refused; check its disk", "reason", reason)
	}
	s.fail(reason)
}

// reset forgets earlier reasons: the server is writable, or not for this reason.
func (s *Server) reset(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable, s.fail = context.WithCancelCause(context.Background())
	if reason != nil {
		s.fail(reason)
	}
}

// Writable is canceled while nothing can be stored; its cause is the reason. Each recovery
// starts a new context. That of a nil Server, an external NATS, is never canceled.
func (s *Server) Writable() context.Context {
	if s == nil {
		return context.Background()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writable
}

// Watch checks and heals the server until it is closed. After a restart, verify reports
// whether the server still has all its data: [ErrRenewed] if not.
func (s *Server) Watch(verify func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	s.stopWatcher = stop
	s.watcher.Go(func() {
		tick := time.NewTicker(healInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.heal(ctx, verify)
			case <-ctx.Done():
				return
			}
		}
	})
}

func (s *Server) heal(ctx context.Context, verify func(context.Context) error) {
	if err := s.checkFolder(); err != nil {
		s.reset(err)
		return
	}
	if !s.server.Load().JetStreamEnabled() {
		s.setUnwritable(errors.New("JetStream has stopped"))
	}
	if s.Writable().Err() == nil || s.probeDisk() != nil {
		return
	}
	s.stop()
	err := s.start()
	if err == nil {
		err = verify(ctx)
	}
	switch {
	case errors.Is(err, ErrRenewed):
		s.reset(err)
	case err != nil:
		if s.unhealed != err.Error() {
			s.unhealed = err.Error()
			s.cfg.Logger.Warn("the log cannot be written yet", "reason", err)
		}
	default:
		s.unhealed = ""
		s.reset(nil)
		s.cfg.Logger.Info("the log can be written again")
	}
}

// checkFolder fails if the data folder is not the one that was locked: new events would be
// acknowledged and lost.
func (s *Server) checkFolder() error {
	locked, err := s.lock.Stat()
	if err != nil {
		return err
	}
	found, err := os.Stat(s.lock.Path())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, found) {
		return fmt.Errorf("%w: the data folder %s was removed or replaced", ErrRenewed, s.cfg.Dir)
	}
	return nil
}

// probeDisk fails if the disk has no room for the largest message and some more.
func (s *Server) probeDisk() error {
	f, err := os.Create(filepath.Join(s.cfg.Dir, "probe"))
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, s.cfg.MaxPayload+1<<20))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
