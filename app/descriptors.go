package app

import (
	"log/slog"
	"net"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// descriptors divides the file descriptors of the process. The system gives a new file or connection the lowest free number, so
// numbers from connections on stay free for the log and the certificates: without them, the log could not be read.
type descriptors struct {
	limit       int // of the process; 0: none that is known
	connections int // connections have numbers below
	streams     int // how many streams leave room for publishers and other requests
}

const raiseLimit = "raise the limit with ulimit -n, or LimitNOFILE in a systemd unit"

// divide returns the division of a limit. The log needs about thirty descriptors.
func divide(limit int) descriptors {
	const most = 100
	part := min(most, limit/4)
	return descriptors{limit: limit, connections: limit - part, streams: limit - 2*part}
}

// maxStreams returns how many streams may be open where the configuration allows n, or any number with 0. It logs if that is fewer.
func (d descriptors) maxStreams(n int, logger *slog.Logger) int {
	if d.limit == 0 || n > 0 && n <= d.streams {
		return n
	}
	logger.Warn("the limit of open files allows fewer streams than --max-connections; "+raiseLimit,
		"open_files", d.limit, "streams", d.streams, "max_connections", n)
	return d.streams
}

// guard returns the listener without the connections that would take a descriptor of the log.
func (d descriptors) guard(l net.Listener, logger *slog.Logger) net.Listener {
	if d.limit == 0 {
		return l
	}
	return &guardedListener{Listener: l, descriptors: d, logger: logger, warn: rate.Sometimes{Interval: time.Minute}}
}

type guardedListener struct {
	net.Listener
	descriptors

	logger *slog.Logger
	warn   rate.Sometimes
}

// Accept closes connections until one has a number for connections.
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || number(c) < uintptr(l.connections) {
			return c, err
		}
		_ = c.Close()
		l.warn.Do(func() {
			l.logger.Warn("connections are closed at once, because those that are open use all descriptors but the log's; "+raiseLimit, "open_files", l.limit)
		})
	}
}

// number is the number of the connection's descriptor, 0 if it has none.
func number(c net.Conn) (n uintptr) {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { n = fd }) // an error leaves 0: the connection is closed already
		}
	}
	return n
}
