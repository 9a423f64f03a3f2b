package park

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
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
	next   atomic.Uint32
	held   atomic.Int64

	mu     sync.RWMutex // whoever enters holds it to read
	closed bool
}

// New returns a park for the configuration.
func New(cfg Config) (*Park, error) {
	if cfg.CounterInterval < 0 || cfg.StatsInterval < 0 || cfg.Heartbeat < 0 || cfg.Stall < 0 || cfg.Shards < 0 {
		return nil, errors.New("park: an interval is negative")
	}
	cfg.Stall = cmp.Or(cfg.Stall, 30*time.Second)
	p := &Park{cfg: cfg}
	for range cmp.Or(cfg.Shards, runtime.GOMAXPROCS(0)) {
		s, err := newShard(p)
		if err != nil {
			return nil, err
		}
		p.shards = append(p.shards, s)
	}
	return p, nil
}

// Run holds the connections until ctx is done; then it closes those that are left.
func (p *Park) Run(ctx context.Context) error {
	g, shards := errgroup.WithContext(context.WithoutCancel(ctx))
	shards, stop := context.WithCancel(shards)
	defer stop()
	for _, s := range p.shards {
		g.Go(func() error { return s.run(shards) })
	}
	select {
	case <-ctx.Done():
	case <-shards.Done(): // one has failed
	}
	p.mu.Lock()
	p.closed = true // whoever entered before is seen by its shard
	p.mu.Unlock()
	stop()
	return g.Wait()
}

// Enter takes the connection and the stream's subscriber over. On an error both stay the
// caller's: it is [ErrClosed], or the connection is none that can be parked.
func (p *Park) Enter(c net.Conn, stream Stream) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return ErrClosed
	}
	fd, err := descriptor(c)
	if err != nil {
		return err
	}
	_ = c.Close() // the descriptor is another one
	s := p.shards[p.next.Add(1)%uint32(len(p.shards))]
	parked := &conn{
		shard: s, sub: stream.Sub, owner: stream.Owner, fd: fd,
		count: stream.Account.Count, events: stream.Account.Events, bytes: stream.Account.Bytes,
		sentID: stream.Account.SentID.Sub(s.began),
	}
	if stream.Counter && p.cfg.CounterInterval > 0 {
		parked.bits |= hasCounter
	}
	if stream.Stats && p.cfg.StatsInterval > 0 {
		parked.bits |= hasStats
	}
	p.held.Add(1)
	s.post(func(in *inbox) { in.arrived = append(in.arrived, parked) })
	return nil
}

// Len is how many connections are parked.
func (p *Park) Len() int { return int(p.held.Load()) }

// Drain ends all streams, those that enter later too, spread over the span: each is told to
// come back by a reconnection time of its own and the event drain.
func (p *Park) Drain(span time.Duration) {
	for _, s := range p.shards {
		s.post(func(in *inbox) { in.drain = &span })
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
	defer f.Close() // the connection has another one
	return net.FileConn(f)
}

// closeSocket closes it, so that what was written arrives: bytes of the peer's that nobody has
// read would else reset the connection.
func closeSocket(fd int32, why Reason) {
	if why == Drained {
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
