package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go/jetstream"
)

// stepDownSubject and a stream's name is the request to choose another leader.
const stepDownSubject = "$JS.API.STREAM.LEADER.STEPDOWN."

// movedFile is in the data folder of a log that continues elsewhere. It has the place, for people.
const movedFile = "moved"

// Move copies the log in cfg.Dir, which no process uses, to the external NATS of the Config, with its Replicas. The epoch, all IDs and the
// tickets stay, so readers notice nothing. With two Replicas or more, idempotency keys stay too. The log in the folder is then closed for good: opening it returns [ErrElsewhere]. An error leaves
// nothing behind. It is [ErrNoLog], [ErrElsewhere], [ErrLogExists], [ErrOldNATS], or one of those of [Open].
func Move(ctx context.Context, cfg Config) (_ State, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return State{}, err
	}
	from, err := openFolder(ctx, cfg.Dir, cfg.Logger)
	if err != nil {
		return State{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := openTarget(ctx, cfg, streamName, storeStream)
	if err != nil {
		return State{}, err
	}
	moved, err := to.take(ctx, from)
	if err != nil {
		return State{}, errors.Join(err, to.undo())
	}
	return moved, to.close()
}

// openFolder opens the log in the folder with the settings that it has.
func openFolder(ctx context.Context, dir string, logger *slog.Logger) (*Log, error) {
	if _, err := os.Stat(storageOf(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNoLog, dir)
	}
	return Open(ctx, Config{Dir: dir, MaxEvent: maxRestored, Logger: logger, existing: true})
}

// take copies the log and its store. Between the last two steps, neither of both logs can be opened.
func (t *target) take(ctx context.Context, from *Log) (State, error) {
	events, err := beginSnapshot(ctx, from.nc.Conn, streamName)
	if err != nil {
		return State{}, err
	}
	summary := summaryOf(events, from.epoch)
	err = copySnapshot(ctx, events, func(r io.Reader) error { return t.restoreEvents(ctx, summary, from.epoch, r) })
	if err != nil {
		return State{}, err
	}
	if err := t.takeStore(ctx, from); err != nil {
		return State{}, err
	}
	if err := t.changeLeader(ctx); err != nil {
		return State{}, err
	}
	if err := markMoved(t.cfg.Dir, t.nc.ConnectedUrlRedacted()); err != nil {
		return State{}, err
	}
	moved, _, err := t.finish(ctx)
	if err == nil && moved.Last != summary.Last.Seq() {
		err = fmt.Errorf("the copy ends at event %d, and the log at %v", moved.Last, summary.Last)
	}
	if err != nil {
		return State{}, errors.Join(err, os.Remove(filepath.Join(t.cfg.Dir, movedFile)))
	}
	return moved, nil
}

// changeLeader makes another server lead the stream. The one that has restored it does not know the idempotency keys until it restarts, but
// those that have copied it do.
func (t *target) changeLeader(ctx context.Context) error {
	if t.cfg.Replicas < 2 {
		return nil
	}
	first := ""
	return t.await(ctx, streamName, func(info *jetstream.StreamInfo) bool {
		if first = cmp.Or(first, info.Cluster.Leader); first != info.Cluster.Leader {
			return allCurrent(info)
		}
		ctx, cancel := context.WithTimeout(ctx, lostTimeout)
		defer cancel()
		_, _ = t.nc.RequestWithContext(ctx, stepDownSubject+streamName, nil) // the next round sees the result
		return false
	})
}

// takeStore copies the store, which a log that was never opened by a server does not have.
func (t *target) takeStore(ctx context.Context, from *Log) error {
	store, err := beginSnapshot(ctx, from.nc.Conn, storeStream)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	config := store.config
	config.Replicas = t.cfg.Replicas
	return copySnapshot(ctx, store, func(r io.Reader) error { return t.restore(ctx, config, store.state, r) })
}

// copySnapshot passes the snapshot to restore while it arrives.
func copySnapshot(ctx context.Context, s *snapshot, restore func(io.Reader) error) error {
	r, w := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		err := s.copyTo(ctx, w, false)
		_ = w.CloseWithError(err) // nil is io.EOF
		copied <- err
	}()
	err := restore(r)
	_ = r.CloseWithError(err) // ends copyTo
	if errCopy := <-copied; err == nil {
		err = errCopy
	}
	return err
}

func markMoved(dir, to string) error {
	path := filepath.Join(dir, movedFile)
	if err := os.WriteFile(path, []byte(to+"\n"), 0o600); err != nil {
		return err
	}
	return errors.Join(syncPath(path), syncPath(dir))
}

// checkMoved returns [ErrElsewhere] if the log in the folder has moved.
func checkMoved(dir string) error {
	to, err := os.ReadFile(filepath.Join(dir, movedFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR): // starting the server says the latter
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w from %s to %s", ErrElsewhere, dir, strings.TrimSpace(string(to)))
}
