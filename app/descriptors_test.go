package app

import (
	"log/slog"
	"strings"
	"testing"
)

func TestStreamsThatTheLimitOfOpenFilesAllows(t *testing.T) {
	for _, c := range []struct{ limit, configured, streams, warnings int }{
		{1100, 100_000, 900, 1}, {1100, 900, 900, 0}, {1100, 901, 900, 1}, {1100, 0, 900, 1}, {1100, 3, 3, 0},
		{256, 100_000, 128, 1}, {1_048_576, 100_000, 100_000, 0}, {0, 100_000, 100_000, 0}, {0, 0, 0, 0},
	} {
		var log strings.Builder
		got := divide(c.limit).maxStreams(c.configured, slog.New(slog.NewTextHandler(&log, nil)))
		if got != c.streams || strings.Count(log.String(), "\n") != c.warnings {
			t.Errorf("%d of %d: %d, want %d; %s", c.configured, c.limit, got, c.streams, log.String())
		}
	}
}
