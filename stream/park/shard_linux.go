package park

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"freshet/hub"
	"freshet/stream"

	"golang.org/x/sys/unix"
)

// A shard owns some of the connections. One goroutine runs it, and waits for nothing but
// epoll.
type shard struct {
	park  *Park
	epoll int
	bell  int // an eventfd: rings when something is in the inbox

	mu      sync.Mutex
	inbox   inbox
	rung    bool
	wakesAt time.Duration // when the shard looks into the inbox next if nobody rings
	closed  bool          // nobody looks into the inbox any more, and the descriptors may belong to others

	// The goroutine's. Times are those of the registry.
	spawn   func(func(context.Context)) // runs what may wait, until the context is done
	now     time.Duration
	wheel   wheel
	conns   map[int32]*conn // by descriptor
	ended   []endedConn
	spare   inbox // the inbox that was emptied last, to be filled again
	dueNow  []*conn
	vector  [][]byte
	unread  [stream.MaxUnread]byte // what peers send, to be discarded
	scratch stream.Scratch
}

// endedConn is a closed connection whose stream is still to be closed.
type endedConn struct {
	*conn
	why stream.Reason
}

// events are those of a connection that takes what is written: the peer closes or sends something.
const events = unix.EPOLLRDHUP | unix.EPOLLIN

// inbox is what other goroutines leave for a shard.
type inbox struct {
	arrived  []*conn
	ready    []*conn // a stream was woken
	replayed []replay
}

// replay is what the log has for a connection that was behind.
type replay struct {
	conn    *conn
	entries []*hub.Entry
	err     error
}

func newShard(p *Park) (*shard, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("park: epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("park: eventfd: %w", err), unix.Close(epoll))
	}
	now := p.registry.Now()
	s := &shard{park: p, epoll: epoll, bell: bell, now: now, wheel: newWheel(p.registry.Tick(), now), conns: map[int32]*conn{}}
	if err := s.interest(unix.EPOLL_CTL_ADD, int32(bell), unix.EPOLLIN); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *shard) stall() time.Duration { return s.park.registry.Stall() }

// interest tells epoll which events are wanted. The system limits how many descriptors
// epoll takes.
func (s *shard) interest(op int, fd int32, events uint32) error {
	if err := unix.EpollCtl(s.epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: fd}); err != nil {
		return fmt.Errorf("park: epoll: %w", err)
	}
	return nil
}

// post leaves something in the inbox and rings the bell. The error is [ErrClosed].
func (s *shard) post(put func(*inbox)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	put(&s.inbox)
	s.ringLocked()
	return nil
}

func (s *shard) ringLocked() {
	if s.rung {
		return
	}
	s.rung = true
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(s.bell, one[:]) // full, it rings anyway
}

// admit adds a connection that has nothing due. It does not wake a shard that soon wakes by
// itself: each client of a crowd would wake it.
func (s *shard) admit(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.interest(unix.EPOLL_CTL_ADD, c.fd, events); err != nil {
		return err
	}
	s.park.held.Add(1)
	s.inbox.arrived = append(s.inbox.arrived, c)
	if s.wakesAt-s.park.registry.Now() > s.wheel.tick {
		s.ringLocked()
	}
	return nil
}

// idle is how long the shard may sleep.
func (s *shard) idle() time.Duration {
	wait := s.wheel.wait(s.now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inbox.arrived) > 0 {
		wait = min(wait, s.wheel.tick)
	}
	s.wakesAt = s.now + wait
	return wait
}

// run runs the streams until ctx is done, then closes those that are left.
func (s *shard) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.post(func(*inbox) {}) })() // wakes the shard
	events := make([]unix.EpollEvent, 256)
	defer s.close()
	for ctx.Err() == nil {
		s.now = s.park.registry.Now()
		s.readInbox()
		s.dueNow = s.wheel.advance(s.now, s.dueNow[:0])
		for i, c := range s.dueNow {
			s.step(c)
			s.yield(i)
		}
		clear(s.dueNow)
		s.closeStreams()
		n, err := unix.EpollWait(s.epoll, events, int((s.idle()+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("park: epoll: %w", err)
		}
		s.now = s.park.registry.Now()
		for _, e := range events[:max(n, 0)] {
			s.handle(e)
		}
		s.closeStreams()
	}
	return nil
}

func (s *shard) readInbox() {
	s.mu.Lock()
	in := s.inbox
	s.inbox, s.rung = s.spare, false
	s.mu.Unlock()
	for _, c := range in.arrived {
		s.conns[c.fd] = c
		s.step(c)
	}
	for _, r := range in.replayed {
		if c := r.conn; !c.closed {
			c.stream.Replayed(r.entries, r.err)
			s.step(c)
		}
	}
	for i, c := range in.ready {
		s.step(c)
		s.yield(i)
	}
	clear(in.arrived)
	clear(in.ready)
	clear(in.replayed)
	s.spare = inbox{arrived: reuse(in.arrived), ready: reuse(in.ready), replayed: reuse(in.replayed)}
}

// yield gives other goroutines a turn when shards occupy every processor: raw writes would
// keep publishers waiting for a whole round. With a processor idle, each yield would only
// move the round there.
func (s *shard) yield(i int) {
	if s.park.crowded && i%32 == 31 {
		runtime.Gosched()
	}
}

// reuse is the slice, emptied, unless it has grown out of proportion.
func reuse[T any](s []T) []T {
	if cap(s) > 1<<16 {
		return nil
	}
	return s[:0]
}

// step writes everything that is due to the connection, and schedules its next step.
func (s *shard) step(c *conn) {
	if c.closed {
		return
	}
	if c.partial != nil {
		if err := c.unblock(); err != nil {
			s.end(c, stream.ReasonOf(err))
			return
		}
	}
	r := c.stream.Step(s.now, c, &s.scratch)
	if r.Ended != stream.Open {
		s.end(c, r.Ended)
		return
	}
	if r.Behind {
		s.replay(c)
	}
	next := r.Next
	if c.partial != nil {
		next = min(next, c.partial.checkAt)
	}
	// A connection that comes up before its time is only scheduled again.
	if next != stream.Never && (c.due == 0 || s.wheel.tickOf(next) < c.due) {
		s.wheel.set(c, next)
	}
}

// replay reads the log for the connection on a goroutine.
func (s *shard) replay(c *conn) {
	s.spawn(func(ctx context.Context) {
		entries, err := c.stream.Replay(ctx)
		_ = s.post(func(in *inbox) { in.replayed = append(in.replayed, replay{c, entries, err}) }) // a closed shard has ended c
	})
}

func (s *shard) handle(e unix.EpollEvent) {
	if e.Fd == int32(s.bell) {
		var rings [8]byte
		_, _ = unix.Read(s.bell, rings[:])
		return
	}
	c := s.conns[e.Fd]
	switch {
	case c == nil: // still in the inbox
	case e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		s.end(c, stream.Gone)
		return
	case e.Events&unix.EPOLLIN != 0:
		if err := c.discard(); err != nil {
			s.end(c, stream.ReasonOf(err))
			return
		}
	}
	if c != nil && c.partial != nil {
		s.step(c)
	}
}

// end closes the connection.
func (s *shard) end(c *conn, why stream.Reason) {
	c.closed = true
	s.wheel.unset(c)
	delete(s.conns, c.fd)
	// Closing would not remove it from epoll while the HTTP server's own descriptor of the socket
	// is open, and epoll would report a number that belongs to another connection by then.
	_ = s.interest(unix.EPOLL_CTL_DEL, c.fd, 0)
	s.park.held.Add(-1)
	c.closeSocket(why.Whole())
	s.ended = append(s.ended, endedConn{c, why})
}

// closeStreams closes the streams of connections that have ended, on a goroutine: it writes
// to the log.
func (s *shard) closeStreams() {
	if len(s.ended) == 0 {
		return
	}
	ended := s.ended
	s.ended = nil
	s.spawn(func(context.Context) {
		for _, e := range ended {
			e.stream.Close(e.why)
		}
	})
}

// close ends the connections that are left.
func (s *shard) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.readInbox() // connections that arrived before
	for _, c := range s.conns {
		s.end(c, stream.Gone)
	}
	s.closeStreams()
	_ = unix.Close(s.bell)
	_ = unix.Close(s.epoll)
}
