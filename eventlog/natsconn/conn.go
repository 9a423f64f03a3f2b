// Package natsconn holds the connection to NATS: to an external cluster, or to a server with
// JetStream that is embedded in this process.
//
// # The embedded server
//
//   - It listens on no port: only this connection reaches it.
//   - It locks its data folder against other processes until [Conn.Close].
//   - After a failed write JetStream stores nothing until the server restarts. From then on
//     [Server.Writable] is canceled, with the reason as its cause.
//   - [Server.Watch] restarts the server once the disk accepts data again. Users of the
//     connection see a disconnect, as with an external NATS that restarts.
//   - [ErrRenewed] is final: no restart brings back data that is gone.
//
// # An external NATS
//
//   - A connection to a server that is frozen or cut off moves to another server within ten
//     seconds: to one of the URLs, or to one that the servers have told. [Conn.Connected] ends
//     the requests that the old server has not answered.
//   - A connection that the servers refuse is tried again until they accept it. Each try reads
//     the credentials file again. Meanwhile [Conn.Refused] returns the reason.
//
// # Ownership
//
// The caller closes the Conn. Close waits for the watcher and for the server.
package natsconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrInUse: another process holds the data folder.
	ErrInUse = errors.New("the data folder is in use by another process")
	// ErrRenewed: the data is not what was opened. It was deleted, replaced, or lost events.
	ErrRenewed = errors.New("the log was recreated or lost events")
	// ErrRefused: the external NATS does not accept the credentials.
	ErrRefused = errors.New("NATS refuses the credentials")
	// ErrCredentials: the credentials file is missing, unreadable or malformed.
	ErrCredentials = errors.New("the NATS credentials file cannot be used")
)

// Config says which NATS to connect to.
type Config struct {
	Name  string // of the connection, in the lists of an external NATS
	URLs  string // of an external NATS, comma-separated; empty: start an embedded server
	Creds string // credentials file of the external NATS

	Dir          string        // data folder of the embedded server; created if missing
	SyncInterval time.Duration // 0: the embedded server syncs each write to disk before it answers
	MaxPayload   int64         // bytes of the largest message that the embedded server accepts

	Logger *slog.Logger
}

// startTimeout is half of the time that the embedded server may take to accept a connection.
const startTimeout = 5 * time.Second

// How soon a connection to an external server that is frozen or cut off is replaced: at the
// third ping interval, because two pings have no answer, or when a write takes too long. Then
// each server has the dial timeout to accept the connection and the credentials.
const (
	pingInterval = 2 * time.Second
	writeTimeout = 5 * time.Second
	dialTimeout  = 2 * time.Second
)

// Conn is a connection to NATS, which reconnects until it is closed.
type Conn struct {
	*nats.Conn
	Server *Server // nil: the NATS is external

	logger  *slog.Logger
	refusal atomic.Pointer[error]

	mu        sync.Mutex
	connected context.Context //nolint:containedctx // canceled when the connection is lost
	lost      context.CancelFunc
}

// Open connects, at most until ctx is done. Without URLs it first starts the embedded server:
// [ErrInUse] if another process holds the data folder. The error is [ErrRefused] if an external
// NATS does not accept the credentials, and [ErrCredentials] if their file cannot be used.
func Open(ctx context.Context, cfg Config) (*Conn, error) {
	c := &Conn{logger: cfg.Logger}
	c.connected, c.lost = context.WithCancel(context.Background())
	options := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1), // while disconnected, publishing fails at once: publishers retry
		nats.DisconnectErrHandler(c.disconnected),
		nats.ErrorHandler(c.failed),
		nats.ReconnectHandler(c.reconnected),
	}
	var err error
	if cfg.URLs == "" {
		if c.Server, err = startServer(cfg); err != nil {
			return nil, err
		}
		// No pings: if this process gets no processor, a new connection does not help.
		options = append(options, nats.InProcessServer(c.Server), nats.PingInterval(0), nats.Timeout(startTimeout))
	} else {
		options = append(options, nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
			nats.FlusherTimeout(writeTimeout), nats.ReconnectOnFlusherError(), nats.Timeout(dialTimeout),
			nats.IgnoreAuthErrorAbort(), credentials(cfg.Creds))
	}
	if c.Conn, err = connect(ctx, cfg.URLs, options); err != nil {
		return nil, errors.Join(describe(err, cfg.URLs), c.Server.close())
	}
	return c, nil
}

// connect is [nats.Connect] until ctx is done.
func connect(ctx context.Context, urls string, options []nats.Option) (*nats.Conn, error) {
	var nc *nats.Conn
	connected := make(chan error, 1)
	go func() { // ends after the dial timeout of each server
		var err error
		nc, err = nats.Connect(urls, options...)
		connected <- err
	}()
	select {
	case err := <-connected:
		return nc, err
	case <-ctx.Done():
		go func() {
			if <-connected == nil {
				nc.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// describe returns the reason why no connection was made.
func describe(err error, urls string) error {
	withoutCredentials := regexp.MustCompile("[^/,]*@").ReplaceAllString(urls, "")
	switch reason := refusalOf(err); {
	case errors.Is(err, ErrCredentials), errors.Is(err, context.Canceled):
		return err
	case reason != nil:
		return fmt.Errorf("%w (%s)", reason, withoutCredentials)
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("no NATS server can be reached at %s", withoutCredentials)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no NATS server answers at %s", withoutCredentials)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("the NATS server at %s has no TLS: want nats:// or ws://", withoutCredentials)
	case errors.Is(err, nats.ErrSecureConnRequired):
		return fmt.Errorf("the NATS server at %s wants TLS: want tls:// or wss://", withoutCredentials)
	case errors.Is(err, nats.ErrNoInfoReceived) || strings.Contains(err.Error(), "malformed HTTP"):
		return fmt.Errorf("%s answers, but not as a NATS server does", withoutCredentials)
	}
	return fmt.Errorf("no connection to NATS at %s: %s", withoutCredentials, reasonOf(err))
}

// reasonOf is the text of an error of the connection. It is the same for each try: it has no port of this side.
func reasonOf(err error) string {
	var failed *net.OpError
	var number syscall.Errno
	switch {
	case errors.Is(err, io.EOF):
		return "the server closed the connection"
	case errors.Is(err, nats.ErrStaleConnection):
		return "the server does not answer"
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &failed):
		err = failed.Err
	}
	return strings.TrimPrefix(err.Error(), "nats: ")
}

// reconnectDelay is how long the connection waits after it has tried all servers.
func reconnectDelay(tries int) time.Duration {
	delay := min(time.Duration(tries)*250*time.Millisecond, dialTimeout)
	return delay/2 + rand.N(delay/2) //nolint:gosec // spread, not secret
}

// refusalOf returns [ErrRefused] with the reason, or nil if the error is no refusal.
func refusalOf(err error) error {
	if errors.Is(err, ErrCredentials) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("%w: %s", ErrRefused, strings.TrimPrefix(refusal.Error(), "nats: "))
		}
	}
	return nil
}

// Refused returns nil, or [ErrRefused] with the reason while the external NATS does not accept
// the credentials.
func (c *Conn) Refused() error {
	if refusal := c.refusal.Load(); refusal != nil {
		return *refusal
	}
	return nil
}

// failed is called for each try to connect again that was refused.
func (c *Conn) failed(_ *nats.Conn, _ *nats.Subscription, err error) {
	if refusal := refusalOf(err); refusal != nil && c.refusal.Swap(&refusal) == nil {
		if errors.Is(err, ErrCredentials) {
			c.logger.Error("the NATS credentials file cannot be used; check --nats-creds", "reason", err)
			return
		}
		c.logger.Error("NATS refuses the credentials; check --nats and --nats-creds", "reason", err)
		return
	}
	c.logger.Debug("NATS", "error", err)
}

// Connected is canceled when the connection is lost: its requests are then not answered. Each
// new connection starts a new context.
func (c *Conn) Connected() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected
}

func (c *Conn) disconnected(_ *nats.Conn, err error) {
	c.mu.Lock()
	c.lost()
	c.mu.Unlock()
	switch {
	case err == nil || c.Refused() != nil: // nil: closed by Close
	case c.Server != nil:
		c.logger.Debug("the embedded server restarts", "error", err)
	default:
		c.logger.Warn("NATS connection lost", "reason", reasonOf(err))
	}
}

func (c *Conn) reconnected(*nats.Conn) {
	c.mu.Lock()
	c.connected, c.lost = context.WithCancel(context.Background())
	c.mu.Unlock()
	if c.refusal.Swap(nil) != nil {
		c.logger.Info("NATS accepts the credentials again")
		return
	}
	if c.Server == nil {
		c.logger.Info("NATS connection restored")
	}
}

// Close closes the connection, stops the embedded server and unlocks its data folder. A
// second call does nothing.
func (c *Conn) Close() error {
	c.Conn.Close()
	return c.Server.close()
}
