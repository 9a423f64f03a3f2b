package app_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"freshet/app"
)

func TestListenErrors(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bind := func(errno syscall.Errno) error {
		return &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)}
	}
	for _, test := range []struct {
		address string
		err     error
		want    string
	}{
		{":80", bind(syscall.EACCES), "cannot listen on :80: this user may not use port 80; choose a port from 1024 on, or run: sudo setcap cap_net_bind_service=+ep " +
			program + " (in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE)"},
		{"127.0.0.1:8080", bind(syscall.EADDRINUSE), "cannot listen on 127.0.0.1:8080: the port is in use; stop the program that uses it, or choose another port with --listen"},
		{"10.9.9.9:8080", bind(syscall.EADDRNOTAVAIL), "cannot listen on 10.9.9.9:8080: this machine does not have the address 10.9.9.9; want one of its addresses, or :8080 for all of them"},
		{"web:8080", &net.OpError{Op: "listen", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "web", IsNotFound: true}},
			"cannot listen on web:8080: the name web cannot be resolved: no such host; want an address of this machine, or :8080 for all of them"},
		{"[fe80::1]:8080", bind(syscall.EINVAL), "cannot listen on [fe80::1]:8080: bind: invalid argument; choose another address with --listen"},
		{":8080", errors.New("out of luck"), "cannot listen on :8080: out of luck; choose another address with --listen"},
	} {
		if got := app.ListenError(test.address, test.err).Error(); got != test.want {
			t.Errorf("%s, %v: got %s\nwant %s", test.address, test.err, got, test.want)
		}
	}
}
