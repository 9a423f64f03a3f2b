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

// guard compares what the embedded log holds with what it has answered, and has it watched
// from here on. A log that lost events gets another epoch: whoever resumes is told a gap.
func (l *Log) guard(ctx context.Context, cfg Config) (err error) {
	if l.mark, err = openMark(cfg.Dir); err != nil {
		return err
	}
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	found := l.lost(state)
	if found != nil {
		// JetStream may go by an index that no longer fits, and then deliver nothing that is
		// stored from here on.
		if err := l.embedded.restart(true); err != nil {
			return err
		}
		if state, err = l.returned(ctx); err != nil {
			return err
		}
	}
	if known := l.known(state); found != nil || known != l.stream.CachedInfo().Config.Metadata[holesKey] {
		if err := l.annotate(ctx, found != nil, known); err != nil {
			return err
		}
	}
	if found != nil {
		l.logger.Error("the log has lost events that were acknowledged: resuming readers are told a gap", "found", found)
	}
	l.logger.Info("log opened", "events", state.Events, "bytes", state.Bytes, "first", event.NewID(l.epoch, state.First), "last", event.NewID(l.epoch, state.Last))
	l.embedded.watch(l.check)
	return nil
}

// lost is an error if the log does not hold what it should.
func (l *Log) lost(s State) error {
	if id, lost := l.mark.lost(l.epoch, s.Last); lost {
		return fmt.Errorf("it ends at %d and had answered up to %v", s.Last, id)
	}
	cfg := l.stream.CachedInfo().Config
	known, err := strconv.ParseUint(cmp.Or(cfg.Metadata[holesKey], "0"), 10, 64)
	if missing := s.holes(); err == nil && missing > known && cfg.MaxMsgsPerSubject <= 0 {
		return fmt.Errorf("%d events between %d and %d are missing", missing, s.First, s.Last)
	}
	return nil
}

// holes is how many events between the first and the last are not kept.
func (s State) holes() uint64 { return s.Last + 1 - s.First - s.Events }

// In the stream's metadata, what the stream does not say of itself.
const (
	epochKey = "freshet-epoch" // the epoch, if it is not the creation time
	holesKey = "freshet-holes" // how many events are known to be missing between the first and the last, or anyHoles
	// anyHoles stands where events are kept by topic, or were: no hole tells of a loss.
	anyHoles = "any"
)

// known is the value for holesKey from now on.
func (l *Log) known(s State) string {
	cfg := l.stream.CachedInfo().Config
	switch {
	case cfg.MaxMsgsPerSubject > 0 || cfg.Metadata[holesKey] == anyHoles && s.holes() > 0:
		return anyHoles
	case s.holes() == 0:
		return ""
	}
	return strconv.FormatUint(s.holes(), 10)
}

// annotate writes the stream's metadata: the holes, and another epoch if it is to be renewed.
func (l *Log) annotate(ctx context.Context, renew bool, holes string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	cfg := l.stream.CachedInfo().Config
	metadata := map[string]string{}
	maps.Copy(metadata, cfg.Metadata)
	metadata[holesKey] = holes
	if renew {
		metadata[epochKey] = strconv.FormatInt(time.Now().UnixMilli(), 10)
	}
	cfg.Metadata = metadata
	stream, err := l.js.UpdateStream(ctx, cfg)
	if err != nil {
		return fmt.Errorf("note what the log lacks: %w", answer(err))
	}
	l.stream, l.epoch = stream, epochOf(stream.CachedInfo())
	return nil
}

// check is nil if an embedded server that was started anew has all that was answered; else
// [ErrRenewed], as the next start will renew the log.
func (l *Log) check(ctx context.Context) error {
	state, err := l.returned(ctx)
	if err != nil {
		return err
	}
	if lost := l.lost(state); lost != nil {
		return fmt.Errorf("%w: %w", ErrRenewed, lost)
	}
	return nil
}

// returned waits for an embedded server that was started anew and returns its state.
func (l *Log) returned(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// A question that the old server did not get to answer is asked again.
		asked, stop := context.WithTimeout(ctx, answerTimeout/10)
		state, err := l.State(asked)
		stop()
		if !errors.Is(err, ErrUnavailable) {
			return state, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return State{}, err
		}
	}
}

// epochOf is the stream's creation time in milliseconds, or the time at which it was renewed.
func epochOf(info *jetstream.StreamInfo) uint64 {
	if epoch, err := strconv.ParseUint(info.Config.Metadata[epochKey], 10, 64); err == nil {
		return epoch
	}
	return uint64(info.Created.UnixMilli())
}
