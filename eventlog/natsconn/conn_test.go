package natsconn_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/eventlog/natsconn"
)

func open(t *testing.T, dir string) (*natsconn.Conn, error) {
	t.Helper()
	return natsconn.Open(t.Context(), natsconn.Config{Dir: dir, MaxPayload: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
}

func TestOneProcessHoldsTheDataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // Close unlocks it
		c, err := open(t, dir)
		must(t, err)
		if _, err := open(t, dir); !errors.Is(err, natsconn.ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Errorf("a second Open: %v", err)
		}
		_, err = c.Request("$JS.API.INFO", nil, 5*time.Second)
		must(t, err)
		must(t, c.Close())
		must(t, c.Close())
	}
}

// A folder that JetStream cannot use fails Open, and is unlocked.
func TestAFolderThatJetStreamCannotUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600))
	for range 2 {
		if _, err := open(t, dir); err == nil || errors.Is(err, natsconn.ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open: %v", err)
		}
	}
}

func TestARemovedFolderIsFinal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	c, err := open(t, dir)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	c.Server.Watch(func(context.Context) error { return nil })
	must(t, c.Server.Writable().Err())
	must(t, os.RemoveAll(dir))
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); !errors.Is(context.Cause(c.Server.Writable()), natsconn.ErrRenewed); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the removal was not noticed")
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
