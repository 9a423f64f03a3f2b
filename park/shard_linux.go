package park

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"freshet/hub"

	"golang.org/x/sys/unix"
)

// A shard owns some of the connections. One goroutine runs it, and nothing in it waits but
// for epoll.
type shard struct {
	park  *Park
	epoll int
	bell  int // an eventfd: rings when something is in the inbox

	mu    sync.Mutex
	inbox inbox
	rung  bool

	// The goroutine's.
	began  time.Time
	now    time.Duration // since it began
	wheel  wheel
	conns  []*conn // by descriptor
	spare  inbox   // the inbox that was emptied last, to be filled again
	due    []*conn
	batch  []*hub.Entry
	vector [][]byte
	frames []byte // scratch
	chunk  []byte // scratch
	drain  struct {
		on   bool
		span time.Duration
	}
}

// inbox is what others leave for a shard.
type inbox struct {
	arrived []*conn
	ready   []*conn // there may be something to deliver
	drain   *time.Duration
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
	s := &shard{park: p, epoll: epoll, bell: bell, began: time.Now()}
	s.interest(unix.EPOLL_CTL_ADD, int32(bell), unix.EPOLLIN)
	return s, nil
}

// interest tells epoll which events are wanted. It fails only for descriptors that are not ours.
func (s *shard) interest(op int, fd int32, events uint32) {
	_ = unix.EpollCtl(s.epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: fd})
}

// post leaves something in the inbox and rings the bell, once until it is heard.
func (s *shard) post(leave func(*inbox)) {
	s.mu.Lock()
	leave(&s.inbox)
	ring := !s.rung
	s.rung = true
	s.mu.Unlock()
	if ring {
		s.ring()
	}
}

func (s *shard) ready(c *conn) {
	s.mu.Lock()
	s.inbox.ready = append(s.inbox.ready, c)
	ring := !s.rung
	s.rung = true
	s.mu.Unlock()
	if ring {
		s.ring()
	}
}

func (s *shard) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(s.bell, one[:]) // full, it rings anyway
}

// run holds the connections until ctx is done, and closes those that are left.
func (s *shard) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.post(func(*inbox) {}) })()
	events := make([]unix.EpollEvent, 256)
	defer s.close()
	for ctx.Err() == nil {
		s.now = time.Since(s.began)
		s.empty()
		s.due = s.wheel.advance(s.now, s.due[:0])
		for _, c := range s.due {
			s.tick(c)
		}
		clear(s.due)
		wait := s.wheel.wait(s.now)
		n, err := unix.EpollWait(s.epoll, events, int((wait+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("park: epoll: %w", err)
		}
		s.now = time.Since(s.began)
		for _, e := range events[:max(n, 0)] {
			s.event(e)
		}
	}
	return nil
}

// empty does what the inbox says.
func (s *shard) empty() {
	s.mu.Lock()
	box := s.inbox
	s.inbox, s.rung = s.spare, false
	s.mu.Unlock()
	for _, c := range box.arrived {
		s.enter(c)
	}
	if box.drain != nil && !s.drain.on {
		s.drain.on, s.drain.span = true, *box.drain
		for _, c := range s.conns {
			if c != nil {
				s.startDrain(c)
			}
		}
	}
	for _, c := range box.ready {
		if !c.is(left) {
			s.deliver(c)
		}
	}
	clear(box.arrived)
	clear(box.ready)
	s.spare = inbox{arrived: keep(box.arrived), ready: keep(box.ready)}
}

// keep is the slice, emptied, unless it has grown out of proportion.
func keep(s []*conn) []*conn {
	if cap(s) > 1<<16 {
		return nil
	}
	return s[:0]
}

func (s *shard) enter(c *conn) {
	for int(c.fd) >= len(s.conns) {
		s.conns = append(s.conns, make([]*conn, max(256, len(s.conns)))...)
	}
	s.conns[c.fd] = c
	cfg := &s.park.cfg
	// Connections that came at one moment need not all be written to at one moment.
	c.counterAt = s.now + cfg.CounterInterval - spread(cfg.CounterInterval/4)
	c.statsAt = s.now + cfg.StatsInterval + spread(cfg.StatsInterval/4) // those of after it came
	s.interest(unix.EPOLL_CTL_ADD, c.fd, unix.EPOLLRDHUP)
	if s.drain.on {
		s.startDrain(c)
	}
	c.schedule(cfg)
	c.sub.Rewake(c.wake)
}

// spread is a random part of the span.
func spread(span time.Duration) time.Duration { return rand.N(span + 1) } //nolint:gosec // no secret

func (s *shard) startDrain(c *conn) {
	c.bits |= draining
	c.drainAt = s.now + spread(s.drain.span)
	c.schedule(&s.park.cfg)
}

func (s *shard) deliver(c *conn) {
	was := c.is(blocked)
	switch err := c.deliver(); {
	case errors.Is(err, hub.ErrBehind):
		s.leave(c)
	case err != nil:
		s.end(c, Gone)
	case was != c.is(blocked):
		c.schedule(&s.park.cfg)
	}
}

func (s *shard) tick(c *conn) {
	over, err := c.tick()
	switch {
	case errors.Is(err, hub.ErrBehind):
		s.leave(c)
	case over != "":
		s.end(c, over)
	case err != nil:
		s.end(c, Gone)
	default:
		c.schedule(&s.park.cfg)
	}
}

func (s *shard) event(e unix.EpollEvent) {
	if e.Fd == int32(s.bell) {
		var heard [8]byte
		_, _ = unix.Read(s.bell, heard[:])
		return
	}
	if int(e.Fd) >= len(s.conns) || s.conns[e.Fd] == nil {
		return
	}
	c := s.conns[e.Fd]
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.end(c, Gone)
		return
	}
	if e.Events&unix.EPOLLOUT != 0 && c.is(blocked) {
		done, err := c.flush()
		switch {
		case err != nil:
			s.end(c, Gone)
		case done:
			c.unblock()
			s.deliver(c)
			if !c.is(left) {
				c.schedule(&s.park.cfg)
			}
		}
	}
}

// remove takes the connection out of the shard.
func (s *shard) remove(c *conn) {
	c.bits |= left
	s.wheel.unset(c)
	s.conns[c.fd] = nil
	s.park.held.Add(-1)
}

// end closes the connection.
func (s *shard) end(c *conn, why Reason) {
	s.remove(c)
	c.sub.Close()
	closeSocket(c.fd, why)
	c.owner.Ended(c.account(), why)
}

// leave gives the connection back to its owner, to be read for from the log.
func (s *shard) leave(c *conn) {
	s.remove(c)
	s.interest(unix.EPOLL_CTL_DEL, c.fd, 0)
	conn, err := netConn(c.fd)
	if err != nil {
		c.sub.Close()
		c.owner.Ended(c.account(), Gone)
		return
	}
	c.owner.Behind(conn, c.account(), c.rest)
}

func (c *conn) account() Account {
	return Account{Count: c.count, Events: c.events, Bytes: c.bytes, SentID: c.shard.began.Add(c.sentID)}
}

// close ends what is left. The bell is rung no more: its descriptor may soon be another's.
func (s *shard) close() {
	s.empty()
	s.mu.Lock()
	s.rung = true
	s.mu.Unlock()
	for _, c := range s.conns {
		if c != nil {
			s.end(c, Gone)
		}
	}
	_ = unix.Close(s.bell)
	_ = unix.Close(s.epoll)
}
