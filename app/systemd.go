package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// systemdListeners returns listeners on the sockets that systemd passed to the process. With an error, it returns the listeners that are open
// already.
//
// The sockets stay open in systemd while the server restarts. New connections wait there, so none is refused.
func systemdListeners(sockets []*os.File) (listeners []net.Listener, err error) {
	if len(sockets) == 0 {
		return nil, errors.New("cannot listen on systemd: systemd passed no socket; start the server with its socket unit, or name an address with --listen")
	}
	for _, socket := range sockets {
		l, err := systemdListener(socket)
		if err != nil {
			return listeners, fmt.Errorf("cannot listen on the socket %s of systemd: %w; want ListenStream= with a port, and Accept=no, in the socket unit", socket.Name(), err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func systemdListener(socket *os.File) (*net.TCPListener, error) {
	defer func() { _ = socket.Close() }() // the listener has its own descriptor
	l, err := net.FileListener(socket)
	if err != nil {
		return nil, errors.New("it does not take connections")
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("it is a %s socket, not a tcp socket", l.Addr().Network()), l.Close())
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		err = setOptions(raw)
	}
	return tcp, err
}

// notifySystemd tells systemd the state of a service of Type=notify. It does nothing if systemd did not start the process.
func notifySystemd(logger *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logger.Warn("systemd does not learn the state of the server", "error", err)
	}
}

// extendTimeout is the state with which systemd waits for the end of the drain, and of what follows it, even if TimeoutStopSec is shorter.
func extendTimeout(drain time.Duration) string {
	const closeLog = 10 * time.Second
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (drain + drainGrace + newcomerGrace + shutdownGrace + closeLog).Microseconds())
}
