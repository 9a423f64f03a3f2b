package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Store holds small values beside the log: a JetStream key-value bucket on the same servers, with as many replicas, that all nodes share.
// Keys consist of letters, digits, dashes, underscores and dots.
type Store struct {
	log *Log
	kv  jetstream.KeyValue
}

const (
	storeBucket   = streamName + "-store"
	storeStream   = "KV_" + storeBucket
	storeSubject  = "$KV." + storeBucket + "."
	storeBytes    = 16 << 20 // about a hundred thousand entries
	storeMaxValue = 1 << 10  // bytes, headers included
)

// Store opens the store, and creates it if it does not exist.
func (l *Log) Store(ctx context.Context) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	replicas := max(l.stream.CachedInfo().Config.Replicas, 1)
	kv, err := l.js.KeyValue(ctx, storeBucket)
	var status jetstream.KeyValueStatus
	if err == nil {
		status, err = kv.Status(ctx)
	}
	// An update writes even if nothing changes, which fails while the disk is full.
	if errors.Is(err, jetstream.ErrBucketNotFound) || err == nil && status.Config().Replicas != replicas {
		kv, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: storeBucket, MaxBytes: storeBytes, MaxValueSize: storeMaxValue, LimitMarkerTTL: time.Second, Replicas: replicas,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the key-value bucket %q: %w", storeBucket, openError(err))
	}
	return &Store{l, kv}, nil
}

// Create writes the value if the key does not exist. That it exists is no error.
func (s *Store) Create(ctx context.Context, key string, value []byte) error {
	ctx, cancel := s.log.withTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := s.kv.Create(ctx, key, value); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return wrapError(err)
	}
	return nil
}

// Put writes the value, which is deleted after the TTL, in whole seconds. Each write to the store returns a higher revision. The error is
// [ErrFull] or [ErrUnavailable].
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error) {
	if err := s.log.writeError(); err != nil {
		return 0, err
	}
	ctx, cancel := s.log.withTimeout(ctx, answerTimeout)
	defer cancel()
	// KeyValue.Create alone has a TTL, and it refuses a key that exists.
	ack, err := s.log.js.Publish(ctx, storeSubject+key, value, jetstream.WithMsgTTL(ttl.Truncate(time.Second)))
	if err != nil {
		return 0, wrapError(err)
	}
	return ack.Sequence, nil
}

// ErrHeld is the error of [Store.Hold] if another holder has the lease.
var ErrHeld = errors.New("another holder has the lease")

// Hold takes a lease, with revision 0, or renews one, with the revision that Hold returned last. The lease ends after the TTL, in whole seconds.
// The value names the holder: a holder whose last call was stored, but not answered, still has the lease.
// The error is [ErrHeld], [ErrFull] or [ErrUnavailable].
func (s *Store) Hold(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	if err := s.log.writeError(); err != nil {
		return 0, err
	}
	ctx, cancel := s.log.withTimeout(ctx, s.log.retryAfter)
	defer cancel()
	ttl = ttl.Truncate(time.Second)
	held, err := s.hold(ctx, key, value, ttl, revision)
	if !errors.Is(err, ErrHeld) {
		return held, wrapError(err)
	}
	current, errGet := s.kv.Get(ctx, key)
	if errGet != nil || !bytes.Equal(current.Value(), value) {
		return 0, ErrHeld
	}
	if held, err = s.hold(ctx, key, value, ttl, current.Revision()); errors.Is(err, ErrHeld) {
		err = errors.New("a server that lags has an older revision of the lease") // the next call may find the newest
	}
	return held, wrapError(err)
}

func (s *Store) hold(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	if revision == 0 {
		revision, err := s.kv.Create(ctx, key, value, jetstream.KeyTTL(ttl))
		if errors.Is(err, jetstream.ErrKeyExists) {
			err = ErrHeld
		}
		return revision, err
	}
	ack, err := s.log.js.Publish(ctx, storeSubject+key, value, jetstream.WithMsgTTL(ttl), jetstream.WithExpectLastSequencePerSubject(revision))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		err = ErrHeld
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Release ends a lease at once.
func (s *Store) Release(ctx context.Context, key string, revision uint64) error {
	ctx, cancel := s.log.withTimeout(ctx, s.log.retryAfter)
	defer cancel()
	return wrapError(s.kv.Purge(ctx, key, jetstream.LastRevision(revision), jetstream.PurgeTTL(time.Second)))
}

// Watch calls change with all that the store holds, then loaded, then change with each write, in the order of revisions, until ctx is
// done. Deleted keys are not reported. After a lost connection it starts over. Both functions are called by one goroutine, and may block.
func (s *Store) Watch(ctx context.Context, change func(key string, value []byte, revision uint64), loaded func()) error {
	connected := s.log.nc.StatusChanged(nats.CONNECTED)
	defer s.log.nc.RemoveStatusListener(connected)
	for {
		err := s.watch(ctx, connected, change, loaded)
		s.log.logger.Debug("the watch of the store starts over", "error", err)
		if err := pause(ctx, tailPause); err != nil {
			return err
		}
	}
}

// watch returns when the library's watcher ends or reports too little, the connection was replaced, or loading takes too long: if the last values expire while
// they are loaded, the watcher of nats.go 1.55 never reports the end of loading.
func (s *Store) watch(ctx context.Context, connected <-chan nats.Status, change func(key string, value []byte, revision uint64), loaded func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	loading := time.AfterFunc(2*answerTimeout, stop)
	defer loading.Stop()
	// The leader knows: the watcher's server may lag, and report less.
	status, err := s.kv.Status(ctx)
	if err != nil {
		return err
	}
	newest, err := s.log.lastOf(ctx, storeStream, storeSubject+">")
	if err != nil {
		return err
	}
	held := int(status.Values())
	watcher, err := s.kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer drain(watcher)
	defer stop()
	report := func(entry jetstream.KeyValueEntry) {
		if entry.Operation() == jetstream.KeyValuePut {
			change(entry.Key(), entry.Value(), entry.Revision())
		}
	}
	var initial []jetstream.KeyValueEntry
	for complete := false; ; {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errBroken
			case entry == nil && len(initial) < held:
				return fmt.Errorf("%w: %d of %d values were reported", errBroken, len(initial), held)
			case entry == nil && newest > 0 && (len(initial) == 0 || initial[len(initial)-1].Revision() < newest):
				return fmt.Errorf("%w: the values up to revision %d were not reported", errBroken, newest)
			case entry == nil:
				loading.Stop()
				for _, entry := range initial {
					report(entry)
				}
				complete, initial = true, nil
				loaded()
			case complete:
				report(entry)
			default:
				initial = append(initial, entry)
			}
		case <-connected: // the watcher would notice after ten seconds
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain waits until the stopped watcher's goroutine has ended, which blocks while the channel is full. If the watcher was stopped while it
// started, nats.go 1.55 never closes the channel, but sends nothing more either.
func drain(watcher jetstream.KeyWatcher) {
	timeout := time.After(time.Second)
	for {
		select {
		case _, open := <-watcher.Updates():
			if !open {
				return
			}
		case <-timeout:
			return
		}
	}
}
