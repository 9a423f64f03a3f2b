package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"freshet/eventlog/natsconn"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// restoringKey is in the metadata of a stream that is not restored completely. No log opens it.
	restoringKey = "freshet-restoring"
	// targetWait bounds the wait for a NATS that starts, or has no leader.
	targetWait = 10 * time.Second
	// copyTimeout bounds the wait until all servers of a cluster have the restored stream.
	copyTimeout = 10 * time.Minute
	// maxRestored is larger than any payload that a log may have accepted.
	maxRestored = 33 << 20
)

// Restore creates the log that the Config names from a backup: in its folder, or in its external NATS with its Replicas. The log keeps its
// settings of the backup, and gets a new epoch: events that were published after the backup are missing, so readers that resume must get a
// gap. An error leaves nothing behind. It is [ErrBackup], [ErrLogExists], [ErrOldNATS], or one of those of [Open].
//
// The Summary is that of the backup. Its Events are without those of an atomic batch that was not complete, which the log does not get.
func Restore(ctx context.Context, cfg Config, file io.ReaderAt, size int64) (Summary, State, error) {
	b, err := openBackup(file, size)
	if err != nil {
		return Summary{}, State{}, err
	}
	return restoreLog(ctx, cfg, b.summary, func(restore func(io.Reader) error) error {
		events, err := b.events.Open()
		if err != nil {
			return err
		}
		return errors.Join(restore(events), events.Close())
	})
}

// RestoreFolder is [Restore] from a copy of a data folder, which must have been made while no process used the folder, or by a snapshot of
// the disk. It is also [ErrNoLog].
func RestoreFolder(ctx context.Context, cfg Config, from string) (_ Summary, _ State, err error) {
	l, err := openFolder(ctx, from, cfg.Logger)
	if err != nil {
		return Summary{}, State{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s, err := beginSnapshot(ctx, l.nc.Conn, streamName)
	if err != nil {
		return Summary{}, State{}, err
	}
	defer s.close()
	return restoreLog(ctx, cfg, summaryOf(s, l.epoch), func(restore func(io.Reader) error) error { return copySnapshot(ctx, s, restore) })
}

// restoreLog restores the events that read passes to restore.
func restoreLog(ctx context.Context, cfg Config, summary Summary, read func(restore func(io.Reader) error) error) (Summary, State, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return summary, State{}, err
	}
	to, err := openTarget(ctx, cfg, streamName)
	if err != nil {
		return summary, State{}, err
	}
	epoch := uint64(time.Now().UnixMilli())
	err = read(func(r io.Reader) error { return to.restoreEvents(ctx, summary, epoch, r) })
	var restored State
	var uncommitted uint64
	if err == nil {
		restored, uncommitted, err = to.finish(ctx)
	}
	if err != nil {
		return summary, State{}, errors.Join(err, to.undo())
	}
	summary.Events -= min(summary.Events, uncommitted)
	return summary, restored, to.close()
}

// target is where a log is restored.
type target struct {
	cfg     Config
	nc      *natsconn.Conn
	js      jetstream.JetStream
	made    []string // streams
	empty   bool     // the folder had no log
	madeDir bool     // there was no folder
}

// openTarget connects to the NATS, which may have just started, or starts one in the folder. It returns [ErrLogExists] if one of the streams
// is there.
func openTarget(ctx context.Context, cfg Config, streams ...string) (*target, error) {
	for end := time.Now().Add(targetWait); ; {
		t, err := connectTarget(ctx, cfg, streams...)
		if cfg.NATS == "" || !errors.Is(err, ErrUnavailable) || time.Now().After(end) || pause(ctx, 500*time.Millisecond) != nil {
			return t, err
		}
	}
}

func connectTarget(ctx context.Context, cfg Config, streams ...string) (_ *target, err error) {
	t := &target{cfg: cfg}
	if cfg.NATS == "" {
		_, errDir := os.Stat(cfg.Dir)
		_, errStorage := os.Stat(t.storage())
		t.madeDir, t.empty = errors.Is(errDir, fs.ErrNotExist), errors.Is(errStorage, fs.ErrNotExist)
		if err := checkMoved(cfg.Dir); err != nil {
			return nil, err
		}
	}
	t.nc, err = natsconn.Open(ctx, natsconn.Config{
		Name: "freshet restore", URLs: cfg.NATS, Creds: cfg.Creds, Dir: cfg.Dir, Logger: cfg.Logger, MaxPayload: maxRestored,
		SyncInterval: time.Hour, // close syncs all
	})
	if err != nil {
		if cfg.NATS == "" && !errors.Is(err, ErrInUse) {
			err = errors.Join(err, t.removeFolder())
		}
		if cfg.NATS != "" && !errors.Is(err, ErrCredentials) && !errors.Is(err, ErrRefused) {
			err = unavailable{err}
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.undo())
		}
	}()
	if err = checkVersion(t.nc.Conn); err != nil {
		return nil, err
	}
	if t.js, err = jetstream.New(t.nc.Conn); err != nil {
		return nil, err
	}
	for _, name := range streams {
		switch _, err := t.js.Stream(ctx, name); {
		case err == nil:
			t.empty = false
			return nil, t.exists(name)
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, openError(err)
		}
	}
	return t, nil
}

func (t *target) exists(stream string) error {
	if t.cfg.NATS == "" {
		return fmt.Errorf("%w in %s", ErrLogExists, t.cfg.Dir)
	}
	return fmt.Errorf("%w: NATS has the stream %q", ErrLogExists, stream)
}

// storage is the folder in which the embedded server keeps its streams.
func (t *target) storage() string { return storageOf(t.cfg.Dir) }

func storageOf(dir string) string { return filepath.Join(dir, server.JetStreamStoreDir) }

// restoreEvents creates the log's stream. No log opens it before finish.
func (t *target) restoreEvents(ctx context.Context, summary Summary, epoch uint64, r io.Reader) error {
	config := restoreConfig(summary, t.cfg.Replicas)
	config.Metadata = map[string]string{epochKey: strconv.FormatUint(epoch, 10), restoringKey: "true"}
	if summary.TTLs {
		config.Metadata[holesKey] = expiringHoles
	}
	state := jetstream.StreamState{FirstSeq: summary.First.Seq(), LastSeq: summary.Last.Seq(), Msgs: summary.Events, Bytes: summary.Bytes}
	return t.restore(ctx, config, state, r)
}

func (t *target) restore(ctx context.Context, config jetstream.StreamConfig, state jetstream.StreamState, r io.Reader) error {
	err := restoreStream(ctx, t.nc.Conn, config, state, r)
	if errors.Is(err, errExists) {
		return t.exists(config.Name)
	}
	t.made = append(t.made, config.Name) // also after an error
	if err != nil {
		return fmt.Errorf("restore the stream %q: %w", config.Name, err)
	}
	return t.await(ctx, config.Name, allCurrent)
}

// await waits until what NATS says of the stream is right.
func (t *target) await(ctx context.Context, stream string, right func(*jetstream.StreamInfo) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, copyTimeout, fmt.Errorf("%w: not all servers have a copy of the stream %q", ErrUnavailable, stream))
	defer cancel()
	for {
		attempt, stop := context.WithTimeout(ctx, lostTimeout)
		s, err := t.js.Stream(attempt, stream)
		stop()
		if err == nil && right(s.CachedInfo()) {
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
}

// allCurrent reports whether all servers that keep the stream have all of it.
func allCurrent(info *jetstream.StreamInfo) bool {
	if info.Config.Replicas < 2 {
		return true
	}
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) < info.Config.Replicas-1 {
		return false
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline || r.Lag > 0 {
			return false
		}
	}
	return true
}

// finish makes the restored stream a log. It also returns how many uncommitted messages the log does not get.
func (t *target) finish(ctx context.Context) (_ State, uncommitted uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	s, err := t.js.Stream(ctx, streamName)
	if err == nil {
		uncommitted, err = deleteUncommitted(ctx, s)
	}
	if err == nil {
		_, err = s.Info(ctx) // for CachedInfo, after the deletions
	}
	if err != nil {
		return State{}, 0, openError(err)
	}
	state, config := stateOf(s.CachedInfo()), s.CachedInfo().Config
	config.Metadata = maps.Clone(config.Metadata)
	delete(config.Metadata, restoringKey)
	config.Metadata[holesKey] = knownHoles(s.CachedInfo())
	if _, err := t.js.UpdateStream(ctx, config); err != nil {
		return State{}, 0, openError(err)
	}
	return state, uncommitted, nil
}

// deleteUncommitted deletes the last messages if they are the beginning of an atomic batch (NATS ADR-50): JetStream takes a snapshot between
// any two messages. Their publishers had no answer before the backup began, and a topic's end must not be there without its fence. It returns
// how many there were.
func deleteUncommitted(ctx context.Context, s jetstream.Stream) (deleted uint64, err error) {
	last, batch := s.CachedInfo().State.LastSeq, ""
	for seq := last; seq > 0 && last-seq < maxBatch; seq-- {
		m, err := s.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound) && batch == "":
			return 0, nil // the newest message has expired, and may have been the commit of the batch before it
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue // deleted by the limit per topic, or expired
		case err != nil:
			return deleted, err
		}
		id := m.Header.Get(batchHeader)
		if id == "" || batch != "" && id != batch || m.Header.Get(commitHeader) != "" {
			return deleted, nil
		}
		batch = id
		if err := s.DeleteMsg(ctx, seq); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// close closes the connection. The embedded log is then on disk.
func (t *target) close() error {
	err := t.nc.Close()
	if t.cfg.NATS == "" {
		err = errors.Join(err, syncAll(t.cfg.Dir), syncPath(filepath.Dir(filepath.Clean(t.cfg.Dir))))
	}
	return err
}

// undo removes what was made, and closes the connection.
func (t *target) undo() error {
	if t.cfg.NATS == "" {
		return errors.Join(t.nc.Close(), t.removeFolder())
	}
	ctx, cancel := context.WithTimeout(context.Background(), restoreTimeout) // the caller's may have ended
	defer cancel()
	var errs error
	for _, stream := range t.made {
		if err := t.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, nats.ErrConnectionClosed) {
			errs = errors.Join(errs, fmt.Errorf("the stream %q of NATS, which is not complete, cannot be deleted: delete it before you try again", stream))
		}
	}
	return errors.Join(errs, t.nc.Close())
}

// removeFolder removes the embedded server's files, and the folder if it was not there before.
func (t *target) removeFolder() error {
	if !t.empty {
		return nil
	}
	err := errors.Join(os.RemoveAll(t.storage()), os.RemoveAll(filepath.Join(t.cfg.Dir, "lock")))
	if t.madeDir {
		err = errors.Join(err, os.RemoveAll(t.cfg.Dir))
	}
	return err
}

// syncAll writes all files and folders below dir to disk.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
