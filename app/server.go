package app

import (
	"log/slog"
	"net/http"
	"time"

	"freshet/stream"
)

// peerTimeout is how long a peer may acknowledge neither data nor probes before its
// connection ends. Together with the heartbeat before it, a vanished peer is gone within a
// minute.
const peerTimeout = 40 * time.Second

// NewServer returns an HTTP server whose timeouts bound requests and leave open streams
// alone: a stream moves its own write deadline as long as its client takes something.
//
// HTTP/2 is spoken over TLS, and in clear text to proxies that know that beforehand.
func NewServer(handler http.Handler, logger *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:     handler,
		Protocols:   protocols,
		ConnContext: stream.ConnContext,
		HTTP2: &http.HTTP2Config{
			// All tabs of a browser share a connection; a proxy opens another when one is full. The
			// limit bounds the work of a client that opens and resets streams.
			MaxConcurrentStreams: 250,
			// For a peer that takes nothing, where the system has no TCP_USER_TIMEOUT. Its streams
			// have stalled before.
			WriteByteTimeout: peerTimeout,
		},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // includes a body that no handler reads
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
