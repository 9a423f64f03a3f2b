package natsconn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/eventlog/natsconn"

	"github.com/nats-io/nats-server/v2/server"
)

// password is the configuration of an external NATS server with a user.
func password(text string) *server.Options {
	return &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "freshet", Password: text, NoSigs: true, NoLog: true}
}

func startNATS(t *testing.T, options *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(options)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	return s
}

// openExternal returns a connection to an external NATS, and its log.
func openExternal(ctx context.Context, t *testing.T, cfg natsconn.Config) (*natsconn.Conn, *apptest.Buffer, error) {
	t.Helper()
	var log apptest.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := natsconn.Open(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { must(t, c.Close()) })
	}
	return c, &log, err
}

// NATS refuses the password again and again, and accepts it later. The connection comes back, and the log says each once.
func TestAPasswordThatIsRefusedForAWhile(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := startNATS(t, password("first"))
	address := s.Addr().String()
	c, log, err := openExternal(ctx, t, natsconn.Config{URLs: "nats://freshet:first@" + address})
	must(t, err)
	if c.Refused() != nil {
		t.Errorf("refused at the start: %v", c.Refused())
	}

	must(t, s.ReloadOptions(password("second")))
	refusals := func() int { return strings.Count(strings.ToLower(log.String()), "authorization violation") }
	must(t, apptest.Until(ctx, func() bool { return refusals() >= 3 })) // the library would give up after two
	if err := c.Refused(); !errors.Is(err, natsconn.ErrRefused) || !strings.Contains(err.Error(), "authorization violation") {
		t.Errorf("while it is refused: %v", err)
	}
	if c.Connected().Err() == nil {
		t.Error("Connected is not canceled")
	}

	must(t, s.ReloadOptions(password("first")))
	must(t, apptest.Until(ctx, func() bool { return c.Connected().Err() == nil }))
	if err := c.Refused(); err != nil {
		t.Errorf("after it was accepted: %v", err)
	}
	must(t, c.FlushWithContext(ctx))
	if lines := log.String(); strings.Count(lines, "level=ERROR") != 1 || strings.Count(lines, "level=INFO") != 1 ||
		strings.Count(lines, "level=WARN") > 1 || !strings.Contains(lines, "accepts the credentials again") {
		t.Errorf("the log:\n%s", lines)
	}
}

// A wrong password is told without the password.
func TestAPasswordThatIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	s := startNATS(t, password("first"))
	_, _, err := openExternal(t.Context(), t, natsconn.Config{URLs: "nats://freshet:hunter2@" + s.Addr().String()})
	if !errors.Is(err, natsconn.ErrRefused) || !strings.Contains(err.Error(), s.Addr().String()) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open: %v", err)
	}
}

// credentialsFile is syntactically valid. A server without accounts accepts it.
const credentialsFile = `-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.e30.c2lnbmF0dXJl
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUAML7YUEBWTQ7QKXUQALRR6NHFSVVJ4JK4XKRCCMJ3AQAHVQJ36WH3IPY
------END USER NKEY SEED------
`

func TestTheCredentialsFileIsReadForEachConnection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := startNATS(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	cfg := natsconn.Config{URLs: s.ClientURL(), Creds: filepath.Join(t.TempDir(), "nats.creds")}
	must(t, os.WriteFile(cfg.Creds, []byte(credentialsFile), 0o600))
	c, log, err := openExternal(ctx, t, cfg)
	must(t, err)
	must(t, os.WriteFile(cfg.Creds, []byte("half of a file"), 0o600))
	must(t, c.ForceReconnect())
	must(t, apptest.Until(ctx, func() bool { return c.Refused() != nil }))
	must(t, os.WriteFile(cfg.Creds, []byte(credentialsFile), 0o600))
	must(t, apptest.Until(ctx, func() bool { return c.Refused() == nil }))
	must(t, c.FlushWithContext(ctx))
	if lines := log.String(); strings.Count(lines, "level=ERROR") != 1 || !strings.Contains(lines, "the NATS credentials file cannot be used; check --nats-creds") {
		t.Errorf("the log:\n%s", lines)
	}
	if strings.Contains(log.String(), "SUAML7") {
		t.Error("the log contains the seed")
	}
}

func TestWhyThereIsNoConnection(t *testing.T) {
	t.Parallel()
	withoutTLS := startNATS(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}).Addr().String()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	address := web.Listener.Addr().String()
	for urls, want := range map[string]string{
		"nats://me:secret@127.0.0.1:1":  "no NATS server can be reached at nats://127.0.0.1:1",
		"tls://me:secret@" + withoutTLS: "the NATS server at tls://" + withoutTLS + " has no TLS: want nats:// or ws://",
		"ws://" + withoutTLS:            "ws://" + withoutTLS + " answers, but not as a NATS server does",
		"ws://" + address:               "no connection to NATS at ws://" + address + ": invalid websocket connection",
	} {
		_, _, err := openExternal(t.Context(), t, natsconn.Config{URLs: urls})
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", urls, err, want)
		}
	}
}

// The error blames the file, not NATS, which may be out of reach too.
func TestACredentialsFileThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	jwt, seed, _ := strings.Cut(credentialsFile, "\n\n")
	for name, test := range map[string]struct{ content, want string }{
		"missing":   {"", "the NATS credentials file cannot be used: open FILE: no such file or directory"},
		"malformed": {"half of a file", "the NATS credentials file cannot be used: FILE has no user JWT: want a file such as nsc generate creds writes"},
		"no token":  {seed, "the NATS credentials file cannot be used: FILE has no user JWT: want a file such as nsc generate creds writes"},
		"no seed":   {jwt + "\n", "the NATS credentials file cannot be used: FILE has no valid user seed: want a file such as nsc generate creds writes"},
	} {
		cfg := natsconn.Config{URLs: "nats://127.0.0.1:1", Creds: filepath.Join(t.TempDir(), "nats.creds")}
		if test.content != "" {
			must(t, os.WriteFile(cfg.Creds, []byte(test.content), 0o600))
		}
		_, _, err := openExternal(t.Context(), t, cfg)
		if want := strings.ReplaceAll(test.want, "FILE", cfg.Creds); !errors.Is(err, natsconn.ErrCredentials) || errors.Is(err, natsconn.ErrRefused) || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", name, err, want)
		}
	}
}

// A server that accepts connections and says nothing, as a frozen one does, holds up nobody for longer than ctx.
func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() {
		_, _, err := openExternal(ctx, t, natsconn.Config{URLs: "nats://" + silent.Addr().String()})
		opened <- err
	}()
	conn, err := silent.Accept()
	must(t, err)
	defer conn.Close() // only now: else the try itself would end
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
}

// Each try at a server that resets connections ends with the same text: a log that has each reason once does not grow.
func TestAReasonIsTheSameForEachTry(t *testing.T) {
	t.Parallel()
	rude, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer rude.Close()
	go func() {
		for {
			conn, err := rude.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	var reasons []string
	for range 2 {
		_, _, err := openExternal(t.Context(), t, natsconn.Config{URLs: "nats://" + rude.Addr().String()})
		reasons = append(reasons, fmt.Sprint(err))
	}
	if reasons[0] != reasons[1] || !strings.HasSuffix(reasons[0], "reset by peer") {
		t.Errorf("got %q", reasons)
	}
}
