//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Config configures a [Swarm].
type Config struct {
	Target      Target
	Path        func(reader int) string // what each reader reads; nil: the target's path
	LastEventID string
	First       uint64 // number of the first event; 0 means 1
	Counter     bool   // the stream is the topic counter, and its numbers are counts
	Unordered   bool   // there are many publishers, so numbers come in any order
	Latencies   bool   // keep the time from each publish to each read
}

// Swarm is many readers of one target. It belongs to one goroutine, and reads only during Open,
// Until and For.
type Swarm struct {
	Events    uint64    // that arrived, counted for each reader
	Missing   uint64    // that were skipped
	Repeats   uint64    // that came again, or late
	Ended     int       // readers that the server has disconnected
	Last      time.Time // when the last event arrived
	Latencies []time.Duration

	cfg     Config
	server  unix.SockaddrInet4
	request string // after the path
	readers []reader
	opened  int
	epoll   int
	ready   []unix.EpollEvent
	buf     []byte
	now     time.Duration // when the current bytes were read, since started
	seen    map[uint64]bool
	err     error
}

// NewSwarm returns a swarm without readers. The caller closes it.
func NewSwarm(cfg Config) (*Swarm, error) {
	address, err := netip.ParseAddrPort(cfg.Target.Address)
	if err != nil || !address.Addr().Is4() {
		return nil, fmt.Errorf("no IPv4 address: %q", cfg.Target.Address)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if cfg.Path == nil {
		cfg.Path = func(int) string { return cfg.Target.Read }
	}
	request := " HTTP/1.1\r\nHost: " + cfg.Target.Address + "\r\nAccept: text/event-stream\r\n"
	if cfg.LastEventID != "" {
		request += "Last-Event-ID: " + cfg.LastEventID + "\r\n"
	}
	cfg.First = max(cfg.First, 1)
	return &Swarm{
		cfg:     cfg,
		server:  unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()},
		request: request + "\r\n",
		epoll:   epoll,
		ready:   make([]unix.EpollEvent, 512),
		buf:     make([]byte, 256<<10),
		seen:    map[uint64]bool{},
	}, nil
}

// concurrentDials is how many connections are opened at a time: fewer than a listener's queue holds.
const concurrentDials = 512

// Open opens n readers, many at a time, and returns when the server has answered all of them. It is
// called once.
func (s *Swarm) Open(ctx context.Context, n int) error {
	s.readers = make([]reader, 0, n)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for s.opened < n {
		for len(s.readers) < n && len(s.readers)-s.opened < concurrentDials {
			if err := s.dial(); err != nil {
				return err
			}
		}
		if err := s.poll(100 * time.Millisecond); err != nil {
			return err
		}
		if s.Ended > 0 {
			return fmt.Errorf("the server disconnected %d of %d open readers", s.Ended, s.opened)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d readers are open: %w", s.opened, n, ctx.Err())
		}
	}
	return nil
}

// dial starts to connect one reader. It uses several source addresses, because one has few ports.
func (s *Swarm) dial() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + len(s.readers)%8)}}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		// Close with a reset, or thousands of ports would stay in TIME_WAIT.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.Bind(fd, from),
	)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	if err := unix.Connect(fd, &s.server); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return errors.Join(err, unix.Close(fd))
	}
	index := int32(len(s.readers))
	s.readers = append(s.readers, reader{fd: int32(fd), next: s.cfg.First})
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: index})
}

// Until reads until the condition holds, which is checked after every few reads. It returns false
// if nothing arrives for the time of patience.
func (s *Swarm) Until(ctx context.Context, patience time.Duration, holds func() bool) (bool, error) {
	last, events := time.Now(), s.Events
	for !holds() {
		if err := s.poll(20 * time.Millisecond); err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if s.Events != events {
			last, events = time.Now(), s.Events
		}
		if time.Since(last) > patience {
			return false, nil
		}
	}
	return true, nil
}

// For reads for a time.
func (s *Swarm) For(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	_, err := s.Until(ctx, d+time.Second, func() bool { return !time.Now().Before(end) })
	return err
}

// poll waits for readers that are ready and reads them.
func (s *Swarm) poll(wait time.Duration) error {
	n, err := unix.EpollWait(s.epoll, s.ready, int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	for _, e := range s.ready[:max(n, 0)] {
		r := &s.readers[e.Fd]
		if r.state == connecting {
			if err := s.connected(r, e.Fd); err != nil {
				return err
			}
			continue
		}
		if err := s.read(r); err != nil {
			return err
		}
	}
	return s.err
}

func (s *Swarm) connected(r *reader, index int32) error {
	fd := int(r.fd)
	if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
	}
	request := []byte("GET " + s.cfg.Path(int(index)) + s.request)
	if n, err := unix.Write(fd, request); err != nil || n < len(request) {
		return fmt.Errorf("the request does not fit into an empty socket: %w", err)
	}
	r.state = inHead
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: index})
}

// read reads once. Unread bytes make the socket ready again.
func (s *Swarm) read(r *reader) error {
	n, err := unix.Read(int(r.fd), s.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		s.end(r)
		return nil
	}
	s.now = time.Since(started)
	return r.parse(s, s.buf[:n])
}

func (s *Swarm) end(r *reader) {
	s.Ended++
	r.state = ended
	_ = unix.Close(int(r.fd)) // the server has closed it
	r.fd = -1
}

// arrived counts an event.
func (s *Swarm) arrived(r *reader) {
	s.Last = started.Add(s.now)
	switch {
	case s.cfg.Unordered:
		if s.seen[r.number] {
			s.Repeats++
			return
		}
		s.seen[r.number] = true
	case r.number < r.next:
		s.Repeats++
		return
	default:
		s.Missing += r.number - r.next
		r.next = r.number + 1
	}
	s.Events++
	if s.cfg.Latencies {
		s.Latencies = append(s.Latencies, s.now-time.Duration(r.stamp))
	}
}

// Quantile returns a quantile of the latencies. It sorts them.
func (s *Swarm) Quantile(share float64) time.Duration {
	if len(s.Latencies) == 0 {
		return 0
	}
	slices.Sort(s.Latencies)
	return s.Latencies[min(int(share*float64(len(s.Latencies))), len(s.Latencies)-1)]
}

// Close closes all readers.
func (s *Swarm) Close() {
	for i := range s.readers {
		if s.readers[i].fd >= 0 {
			_ = unix.Close(int(s.readers[i].fd)) // these errors change nothing
		}
	}
	_ = unix.Close(s.epoll) // its readers are closed
}
