package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"freshet/config"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen opens the addresses of --listen. With an error, it returns the listeners that are open already.
func listen(ctx context.Context, addresses []string) (listeners []net.Listener, err error) {
	passed := activation.Files(true)
	for _, address := range addresses {
		var opened []net.Listener
		if address == config.ListenSystemd {
			opened, err = systemdListeners(passed)
			passed = nil
		} else {
			opened, err = listenTCP(ctx, address)
		}
		if listeners = append(listeners, opened...); err != nil {
			return listeners, err
		}
	}
	if len(passed) > 0 { // clients of these sockets would get no answer
		return listeners, fmt.Errorf("systemd passes the sockets of a socket unit, but --listen does not have the word %[1]s; add --listen %[1]s", config.ListenSystemd)
	}
	return listeners, nil
}

func listenTCP(ctx context.Context, address string) ([]net.Listener, error) {
	l, err := listenConfig().Listen(ctx, "tcp", address)
	if err != nil {
		return nil, listenError("--listen", address, err)
	}
	return []net.Listener{l}, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

// listenError says in one line why the address of the flag cannot be used, and what to do.
func listenError(flag, address string, err error) error {
	host, port, _ := net.SplitHostPort(address) // config has checked it
	var lookup *net.DNSError
	var reason, advice string
	switch {
	case errors.As(err, &lookup):
		reason, advice = "the name "+host+" cannot be resolved: "+lookup.Err, "want an address of this machine, or :"+port+" for all of them"
	case errors.Is(err, syscall.EADDRINUSE):
		reason, advice = "the port is in use", "stop the program that uses it, or choose another port with "+flag
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		reason, advice = "this machine does not have the address "+host, "want one of its addresses, or :"+port+" for all of them"
	case errors.Is(err, syscall.EACCES):
		program, _ := os.Executable()
		reason = "this user may not use port " + port
		advice = "choose a port from 1024 on, or run: sudo setcap cap_net_bind_service=+ep " + cmp.Or(program, "FILE") +
			" (in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
	default:
		if operation := (*net.OpError)(nil); errors.As(err, &operation) {
			err = operation.Err
		}
		reason, advice = err.Error(), "choose another address with "+flag
	}
	return fmt.Errorf("cannot listen on %s: %s; %s", address, reason, advice)
}
