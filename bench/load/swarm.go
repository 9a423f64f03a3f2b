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

// Config says what the readers of a swarm read.
type Config struct {
	Target      Target
	Path        func(reader int) string // what each reader reads, instead of the target's; nil: all read that
	LastEventID string
	First       uint64 // number of the first event that is due; 0 means 1
	Counter     bool   // the stream is the topic counter: its numbers are counts
	Unordered   bool   // many publish at once: numbers come in any order
	Latencies   bool   // keep the time from each publish to each read
}

// Swarm is many readers of one target. It belongs to one goroutine, and does nothing
// outside of Open and Until.
type Swarm struct {
	Events    uint64    // that have arrived, each counted once a reader
	Missing   uint64    // that were passed over
	Repeats   uint64    // that came twice, or late
	Ended     int       // readers that the server has cut off
	Last      time.Time // when the last event arrived
	Latencies []time.Duration

	cfg     Config
	server  unix.SockaddrInet4
	request string // behind the path
	readers []reader
	opened  int
	epoll   int
	ready   []unix.EpollEvent
	buf     []byte
	now     time.Duration // since started, of what is being read
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

// underWay is how many connections are opened at a time: less than a listener's queue holds.
const underWay = 512

// Open opens n readers, one after the other but many at a time, and returns once the server
// has answered all of them. It is called once.
func (s *Swarm) Open(ctx context.Context, n int) error {
	s.readers = make([]reader, 0, n)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for s.opened < n {
		for len(s.readers) < n && len(s.readers)-s.opened < underWay {
			if err := s.dial(); err != nil {
				return err
			}
		}
		if err := s.turn(100 * time.Millisecond); err != nil {
			return err
		}
		if s.Ended > 0 {
			return fmt.Errorf("the server has cut off %d of %d readers that opened", s.Ended, s.opened)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d readers are open: %w", s.opened, n, ctx.Err())
		}
	}
	return nil
}

// dial begins to connect one reader. There are several source addresses, as one has few ports.
func (s *Swarm) dial() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + len(s.readers)%8)}}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		// Closed by a reset: thousands of ports would else wait for their end.
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

// Until reads until the condition holds, which is asked after every few reads, or until
// nothing has arrived for the time of patience: then it returns false.
func (s *Swarm) Until(ctx context.Context, patience time.Duration, holds func() bool) (bool, error) {
	last, events := time.Now(), s.Events
	for !holds() {
		if err := s.turn(20 * time.Millisecond); err != nil {
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

// turn waits for what is ready and reads it.
func (s *Swarm) turn(wait time.Duration) error {
	n, err := unix.EpollWait(s.epoll, s.ready, int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	for _, e := range s.ready[:max(n, 0)] {
		r := &s.readers[e.Fd]
		if r.at == connecting {
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
	r.at = inHead
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: index})
}

// read reads once; what is left makes the socket ready again.
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
	return r.take(s, s.buf[:n])
}

func (s *Swarm) end(r *reader) {
	s.Ended++
	r.at = ended
	_ = unix.Close(int(r.fd)) // it has ended
	r.fd = -1
}

// arrived counts the event that the reader has read.
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

// Quantile is the latency that a share of all is below. It sorts the latencies.
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
			_ = unix.Close(int(s.readers[i].fd)) // nothing is to be written
		}
	}
	_ = unix.Close(s.epoll) // it has no readers left
}
