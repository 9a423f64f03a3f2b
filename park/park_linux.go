package park

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Park holds connections while [Park.Run] runs.
type Park struct {
	cfg    Config
	shards []*shard
	// crowded says that shards may have every processor.
	crowded bool
	next    atomic.Uint32
	held    atomic.Int64
}

// New returns a park for the configuration.
func New(cfg Config) (*Park, error) {
	if cfg.CounterInterval < 0 || cfg.StatsInterval < 0 || cfg.Heartbeat < 0 || cfg.Stall < 0 || cfg.Shards < 0 {
		return nil, errors.New("park: an interval is negative")
	}
	cfg.Stall = cmp.Or(cfg.Stall, 30*time.Second)
	p := &Park{cfg: cfg}
	// The processor that is left takes what else there is to do for an event before and after.
	for range cmp.Or(cfg.Shards, max(1, runtime.GOMAXPROCS(0)-1)) {
		s, err := newShard(p)
		if err != nil {
			for _, s := range p.shards {
				s.close()
			}
			return nil, err
		}
		p.shards = append(p.shards, s)
	}
	p.crowded = len(p.shards) >= runtime.GOMAXPROCS(0)
	return p, nil
}

// Run holds the connections until ctx is done; then it closes those that are left.
func (p *Park) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range p.shards {
		s.spawn = func(f func(context.Context)) {
			g.Go(func() error {
				f(ctx)
				return nil
			})
		}
		g.Go(func() error { return s.run(ctx) })
	}
	return g.Wait()
}

// Enter takes the connection and the stream's subscriber over. On an error both stay the
// caller's: it is [ErrClosed], or the connection is none that can be parked.
func (p *Park) Enter(c net.Conn, stream Stream) error {
	fd, err := descriptor(c)
	if err != nil {
		return err
	}
	s := p.shards[p.next.Add(1)%uint32(len(p.shards))]
	parked := &conn{shard: s, sub: stream.Sub, owner: stream.Owner, fd: fd, account: stream.Account}
	if stream.Counter && p.cfg.CounterInterval > 0 {
		parked.bits |= hasCounter
	}
	if stream.Stats && p.cfg.StatsInterval > 0 {
		parked.bits |= hasStats
	}
	if stream.Lines {
		parked.bits |= takesLines
	}
	if err := s.admit(parked); err != nil {
		_ = unix.Close(int(fd))
		return err
	}
	stream.Sub.Rewake(parked.wake) // behind the admission: the inbox has the arrival first
	_ = c.Close()                  // the shard's descriptor is another one
	return nil
}

// Len is how many connections are parked.
func (p *Park) Len() int { return int(p.held.Load()) }

// Drain ends all streams, those that enter later too, spread over the span: each is told to
// come back by a reconnection time of its own and the event drain.
func (p *Park) Drain(span time.Duration) {
	for _, s := range p.shards {
		_ = s.post(func(in *inbox) error { // a closed one has none
			in.drain = &span
			return nil
		})
	}
}

// descriptor returns a descriptor of the connection's socket that is the caller's.
func descriptor(c net.Conn) (int32, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("park: a %T has no descriptor", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("park: %w", err)
	}
	fd, errDup := 0, error(nil)
	if err := raw.Control(func(own uintptr) { fd, errDup = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return 0, fmt.Errorf("park: %w", err)
	}
	if errDup != nil {
		return 0, fmt.Errorf("park: %w", errDup)
	}
	return int32(fd), nil
}

// netConn makes the descriptor a connection again, which owns it.
func netConn(fd int32) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	conn, err := net.FileConn(f)
	_ = f.Close() // the connection has another one
	return conn, err
}

// closeSocket closes it, so that what was written arrives: bytes of the peer's that nobody has
// read would else reset the connection.
func closeSocket(fd int32, why Reason) {
	if why == Drained || why == Expired || why == Ended {
		var unread [4096]byte
		for range 16 {
			if n, err := unix.Read(int(fd), unread[:]); n <= 0 || err != nil {
				break
			}
		}
		_ = unix.Shutdown(int(fd), unix.SHUT_WR)
	}
	_ = unix.Close(int(fd))
}
