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
// # Ownership
//
// The caller closes the Conn. Close waits for the watcher and for the server.
package natsconn

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrInUse: another process holds the data folder.
	ErrInUse = errors.New("the data folder is in use by another process")
	// ErrRenewed: the data is not what was opened. It was deleted, replaced, or lost events.
	ErrRenewed = errors.New("the log was recreated or lost events")
)

// Config says which NATS to connect to.
type Config struct {
	URLs  string // of an external NATS, comma-separated; empty: start an embedded server
	Creds string // credentials file of the external NATS

	Dir          string        // data folder of the embedded server; created if missing
	SyncInterval time.Duration // 0: the embedded server syncs each write to disk before it answers
	MaxPayload   int64         // bytes of the largest message that the embedded server accepts

	Logger *slog.Logger
}

const connectTimeout = 5 * time.Second

// Conn is a connection to NATS, which reconnects until it is closed.
type Conn struct {
	*nats.Conn
	Server *Server // nil: the NATS is external
}

// Open connects. Without URLs it first starts the embedded server: [ErrInUse] if another
// process holds the data folder.
func Open(cfg Config) (*Conn, error) {
	options := []nats.Option{
		nats.Name("freshet"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: closed by Close
				cfg.Logger.Warn("NATS connection lost", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cfg.Logger.Debug("NATS", "error", err) }),
		nats.ReconnectHandler(func(*nats.Conn) { cfg.Logger.Info("NATS connection restored") }),
		nats.ReconnectBufSize(-1), // while disconnected, publishing fails at once: publishers retry
		nats.Timeout(connectTimeout),
	}
	c := &Conn{}
	var err error
	if cfg.URLs == "" {
		if c.Server, err = startServer(cfg); err != nil {
			return nil, err
		}
		options = append(options, nats.InProcessServer(c.Server))
	} else if cfg.Creds != "" {
		options = append(options, nats.UserCredentials(cfg.Creds))
	}
	if c.Conn, err = nats.Connect(cfg.URLs, options...); err != nil {
		withoutCredentials := regexp.MustCompile("[^/,]*@").ReplaceAllString(cfg.URLs, "")
		return nil, errors.Join(fmt.Errorf("connect to NATS at %s: %w", withoutCredentials, err), c.Server.close())
	}
	return c, nil
}

// Close closes the connection, stops the embedded server and unlocks its data folder. A
// second call does nothing.
func (c *Conn) Close() error {
	c.Conn.Close()
	return c.Server.close()
}
