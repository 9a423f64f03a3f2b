package check_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/config"

	"github.com/nats-io/nats-server/v2/server"
)

// stopping is how long a node takes at most after --drain (docs/operations.md), and some seconds more.
const stopping = 2*time.Second + 2*time.Second

// password is a number for a NATS configuration that does not quote it.
const password = "12345678901234567890123456789012"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	must(t, err)
	return string(text)
}

// settings are those of a node with these arguments and variables. Each has to exist, and to have a valid value.
func settings(t *testing.T, args []string, variables map[string]string) config.Config {
	t.Helper()
	var environ []string
	for name, value := range variables {
		environ = append(environ, name+"="+value)
	}
	slices.Sort(environ)
	cfg, err := config.Parse(args, environ, io.Discard)
	if err != nil {
		t.Fatalf("freshet %q with %q: %v", args, environ, err)
	}
	if len(cfg.TrustedProxies) == 0 || cfg.NATS == "" || cfg.PublishToken == "" {
		t.Errorf("the node has no proxy, no NATS or no publish token: %q", environ)
	}
	return cfg
}

// natsOptions are those of a NATS server with this configuration. Each has to exist. The server has room for what the node sends.
func natsOptions(t *testing.T, text string, node config.Config) *server.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	options, err := server.ProcessConfigFile(file)
	must(t, err)
	if !options.JetStream || !options.SyncAlways || options.JetStreamMaxStore < 2*int64(node.RetainBytes) || int64(options.MaxPayload) < int64(node.MaxBody)+64<<10 {
		t.Errorf("JetStream: %v, sync always: %v, room: %d, largest message: %d", options.JetStream, options.SyncAlways, options.JetStreamMaxStore, options.MaxPayload)
	}
	return options
}

// replace returns the text with each old text replaced, which has to be there: pairs of an old and a new text.
func replace(t *testing.T, text string, changes ...string) string {
	t.Helper()
	for change := range slices.Chunk(changes, 2) {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("there is no %q to replace", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	return text
}
