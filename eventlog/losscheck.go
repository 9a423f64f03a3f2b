package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/event"
)

// Keys of the stream's metadata.
const (
	epochKey = "freshet-epoch" // the epoch, if it is not the creation time
	holesKey = "freshet-holes" // how many events are known to be missing between the first and the last, or anyHoles
	// anyHoles: events are or were limited per topic, so that holes do not show a loss.
	anyHoles = "any"
	// expiringHoles: the log has had events with TTLs, so that holes appear at any time.
	expiringHoles = "expiring"
)

// checkLoss compares what the embedded log holds with what it acknowledged, and starts the
// watcher. A log that lost events gets a new epoch: readers that resume get a gap.
func (l *Log) checkLoss(ctx context.Context, cfg Config) (err error) {
	if l.lastAcked, err = openLastAcked(cfg.Dir); err != nil {
		return err
	}
	info, err := l.info(ctx)
	if err != nil {
		return err
	}
	loss := l.findLoss(info)
	if loss != nil {
		// JetStream's index may be wrong too, and then new events would not be delivered.
		if err := l.nc.Server.Rebuild(streamName); err != nil {
			return err
		}
		if info, err = l.awaitInfo(ctx); err != nil {
			return err
		}
	}
	state := stateOf(info)
	if holes := knownHoles(info); loss != nil || holes != info.Config.Metadata[holesKey] {
		if err := l.updateMetadata(ctx, loss != nil, holes); err != nil {
			return err
		}
	}
	if loss != nil {
		l.logger.Error("the log has lost events that were acknowledged: resuming readers get a gap", "loss", loss)
	}
	l.expiring.Store(l.stream.CachedInfo().Config.Metadata[holesKey] == expiringHoles)
	l.logger.Info("log opened", "events", state.Events, "bytes", state.Bytes, "first", event.NewID(l.epoch, state.First), "last", event.NewID(l.epoch, state.Last))
	l.nc.Server.Watch(l.verifyRestarted)
	return nil
}

// findLoss returns an error that describes which events the log has lost, or nil.
func (l *Log) findLoss(info *jetstream.StreamInfo) error {
	s, cfg := stateOf(info), info.Config
	if id, beyond := l.lastAcked.isBeyond(l.epoch, s.Last); beyond {
		return fmt.Errorf("the log ends at %d, but acknowledged events up to %v", s.Last, id)
	}
	known, err := strconv.ParseUint(cmp.Or(cfg.Metadata[holesKey], "0"), 10, 64)
	if missing := s.holes(); err == nil && missing > known && cfg.MaxMsgsPerSubject <= 0 {
		return fmt.Errorf("%d events between %d and %d are missing", missing, s.First, s.Last)
	}
	return nil
}

// holes is how many events between the first and the last are not kept.
func (s State) holes() uint64 { return s.Last + 1 - s.First - s.Events }

// knownHoles returns the value of holesKey for a stream.
func knownHoles(info *jetstream.StreamInfo) string {
	s, cfg := stateOf(info), info.Config
	switch {
	case cfg.Metadata[holesKey] == expiringHoles:
		return expiringHoles
	case cfg.MaxMsgsPerSubject > 0 || cfg.Metadata[holesKey] == anyHoles && s.holes() > 0:
		return anyHoles
	case s.holes() == 0:
		return ""
	}
	return strconv.FormatUint(s.holes(), 10)
}

func (l *Log) updateMetadata(ctx context.Context, newEpoch bool, holes string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	cfg := l.stream.CachedInfo().Config
	metadata := map[string]string{}
	maps.Copy(metadata, cfg.Metadata)
	metadata[holesKey] = holes
	if newEpoch {
		metadata[epochKey] = strconv.FormatInt(time.Now().UnixMilli(), 10)
	}
	cfg.Metadata = metadata
	stream, err := l.js.UpdateStream(ctx, cfg)
	if err != nil {
		return fmt.Errorf("update the stream's metadata: %w", wrapError(err))
	}
	l.stream, l.epoch = stream, epochOf(stream.CachedInfo())
	return nil
}

// expectHoles runs the function, which makes holes in the embedded log. If the process dies meanwhile, the next Open takes no hole for a loss.
func (l *Log) expectHoles(ctx context.Context, makeHoles func() error) error {
	if l.lastAcked == nil { // nobody checks the external log
		return makeHoles()
	}
	l.holes.Lock()
	defer l.holes.Unlock()
	if l.expiring.Load() {
		return makeHoles()
	}
	if err := l.setHoles(ctx, func(*jetstream.StreamInfo) string { return anyHoles }); err != nil {
		return err
	}
	err := makeHoles()
	return errors.Join(err, l.setHoles(ctx, func(info *jetstream.StreamInfo) string {
		if info.Config.MaxMsgsPerSubject > 0 || err != nil {
			return anyHoles
		}
		return strconv.FormatUint(stateOf(info).holes(), 10)
	}))
}

func (l *Log) setHoles(ctx context.Context, value func(*jetstream.StreamInfo) string) error {
	info, err := l.info(ctx)
	if err != nil {
		return err
	}
	cfg := info.Config
	cfg.Metadata = maps.Clone(cfg.Metadata)
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[holesKey] = value(info)
	if _, err := l.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("update the stream's metadata: %w", wrapError(err))
	}
	return nil
}

// verifyRestarted returns [ErrRenewed] if a restarted server lacks acknowledged events. The
// next Open then starts a new epoch.
func (l *Log) verifyRestarted(ctx context.Context) error {
	info, err := l.awaitInfo(ctx)
	if err != nil {
		return err
	}
	if loss := l.findLoss(info); loss != nil {
		return fmt.Errorf("%w: %w", ErrRenewed, loss)
	}
	return nil
}

// awaitInfo waits until a restarted server answers, and returns what it says of the stream.
func (l *Log) awaitInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		// A short timeout, because a request sent to the old server gets no answer.
		attempt, stop := context.WithTimeout(ctx, answerTimeout/10)
		info, err := l.info(attempt)
		stop()
		if !errors.Is(err, ErrUnavailable) {
			return info, err
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return nil, err
		}
	}
}

// epochOf returns the time in milliseconds at which the stream was created, or at which it
// got a new epoch.
func epochOf(info *jetstream.StreamInfo) uint64 {
	if epoch, err := strconv.ParseUint(info.Config.Metadata[epochKey], 10, 64); err == nil {
		return epoch
	}
	return uint64(info.Created.UnixMilli())
}
