package park

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"

	"freshet/stream"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Park holds connections while [Park.Run] runs.
type Park struct {
	registry *stream.Registry
	shards   []*shard
	most     int  // the descriptors of connections are below; 0: no limit
	crowded  bool // shards may occupy every processor
	next     atomic.Uint32
	held     atomic.Int64
}

// New returns a park for streams of the registry.
func New(registry *stream.Registry, cfg Config) (*Park, error) {
	if cfg.Shards < 0 {
		return nil, errors.New("park: the number of shards is negative")
	}
	p := &Park{registry: registry, most: cfg.MaxDescriptors}
	// One processor is left for the work before and after the writes.
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

// Run runs the streams until ctx is done, then closes those that are left.
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

// Enter hands the connection and the stream over to the park, which closes both in the end.
// On an error both stay the caller's: it is [ErrClosed], or the connection cannot be parked.
func (p *Park) Enter(c net.Conn, s *stream.Stream) error {
	fd, err := duplicate(c)
	if err != nil {
		return err
	}
	if p.most > 0 && int(fd) >= p.most {
		_ = unix.Close(int(fd))
		return fmt.Errorf("park: no descriptor below %d is free", p.most)
	}
	shard := p.shards[p.next.Add(1)%uint32(len(p.shards))]
	parked := &conn{shard: shard, stream: s, fd: fd}
	s.SetParked(true)
	if err := shard.admit(parked); err != nil {
		s.SetParked(false)
		_ = unix.Close(int(fd))
		return err
	}
	s.Drive(parked.wake) // after the admission, so that the inbox has the arrival first
	_ = c.Close()        // the shard has a descriptor of its own
	return nil
}

// Len is how many connections are parked.
func (p *Park) Len() int { return int(p.held.Load()) }

// duplicate returns a new descriptor of the connection's socket, which the caller owns.
func duplicate(c net.Conn) (int32, error) {
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
