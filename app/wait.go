package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"freshet/eventlog"
)

// natsPause is how long the start waits before it tries NATS again.
const natsPause = 500 * time.Millisecond

// waitForNATS calls open again, at most for the time, while its error is [eventlog.ErrUnavailable].
// It logs each reason once. The end of ctx ends it at once.
func waitForNATS(ctx context.Context, most time.Duration, logger *slog.Logger, open func(context.Context) error) error {
	if most == 0 {
		return open(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	began, said := time.Now(), map[string]bool{}
	var last error // the last one that is not the end of the time
	for {
		err := open(waiting)
		if err == nil && last != nil {
			logger.Info("NATS is ready", "after", time.Since(began).Round(time.Millisecond).String())
		}
		if !errors.Is(err, eventlog.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if last == nil || waiting.Err() == nil {
			last = err
		}
		if reason := last.Error(); !said[reason] {
			said[reason] = true
			logger.Warn("waiting for NATS", "at_most", most.String(), "reason", reason)
		}
		select {
		case <-time.After(natsPause):
		case <-waiting.Done():
			return fmt.Errorf("waited %v for NATS: %w", most, last)
		}
	}
}
