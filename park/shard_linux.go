package park

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
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

	mu     sync.Mutex
	inbox  inbox
	rung   bool
	wakes  time.Duration // when the shard looks into the inbox next if nobody rings; since it began
	closed bool          // the inbox is not looked at any more, and the descriptors may be another's

	// The goroutine's.
	spawn   func(func(context.Context)) // runs what may wait, until the context is done
	began   time.Time
	now     time.Duration // since it began
	wheel   wheel
	conns   map[int32]*conn // by descriptor
	ended   []ending
	spare   inbox // the inbox that was emptied last, to be filled again
	due     []*conn
	batch   []*hub.Entry
	vector  [][]byte
	encoded []hub.Encoded
	frames  []byte // scratch
	chunk   []byte // scratch
	drain   struct {
		on   bool
		ends time.Duration
	}
}

// ending is a connection that was closed, and whose owner is to be told.
type ending struct {
	*conn
	why Reason
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
	s := &shard{park: p, epoll: epoll, bell: bell, began: time.Now(), wheel: newWheel(p.cfg.CounterInterval, p.cfg.StatsInterval, p.cfg.Heartbeat), conns: map[int32]*conn{}}
	if err := s.interest(unix.EPOLL_CTL_ADD, int32(bell), unix.EPOLLIN); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// interest tells epoll which events are wanted. It may take no more descriptors: the system
// has a limit of its own for that.
func (s *shard) interest(op int, fd int32, events uint32) error {
	if err := unix.EpollCtl(s.epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: fd}); err != nil {
		return fmt.Errorf("park: epoll: %w", err)
	}
	return nil
}

// post leaves something in the inbox and rings the bell, once until it is heard. The error is
// [ErrClosed] or that of leave.
func (s *shard) post(leave func(*inbox) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := leave(&s.inbox); err != nil {
		return err
	}
	s.ring()
	return nil
}

// ring is for who holds the lock.
func (s *shard) ring() {
	if s.rung {
		return
	}
	s.rung = true
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(s.bell, one[:]) // full, it rings anyway
}

// admit has the shard take the connection over, which nothing is due yet. The shard is not
// woken if it soon wakes of itself: a crowd would wake it for each that comes.
func (s *shard) admit(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.interest(unix.EPOLL_CTL_ADD, c.fd, unix.EPOLLRDHUP); err != nil {
		return err
	}
	s.park.held.Add(1)
	s.inbox.arrived = append(s.inbox.arrived, c)
	if s.wakes-time.Since(s.began) > s.wheel.tick {
		s.ring()
	}
	return nil
}

// rest is how long the shard may sleep.
func (s *shard) rest() time.Duration {
	wait := s.wheel.wait(s.now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inbox.arrived) > 0 {
		wait = min(wait, s.wheel.tick)
	}
	s.wakes = s.now + wait
	return wait
}

// run holds the connections until ctx is done, and closes those that are left.
func (s *shard) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.post(func(*inbox) error { return nil }) })()
	events := make([]unix.EpollEvent, 256)
	defer s.close()
	for ctx.Err() == nil {
		s.now = time.Since(s.began)
		s.empty()
		s.due = s.wheel.advance(s.now, s.due[:0])
		for i, c := range s.due {
			why, err := c.tick()
			s.settle(c, why, err)
			s.yield(i)
		}
		clear(s.due)
		s.dismiss()
		n, err := unix.EpollWait(s.epoll, events, int((s.rest()+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("park: epoll: %w", err)
		}
		s.now = time.Since(s.began)
		for _, e := range events[:max(n, 0)] {
			s.event(e)
		}
		s.dismiss()
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
		s.drain.on, s.drain.ends = true, s.now+*box.drain
		for _, c := range s.conns {
			s.startDrain(c)
		}
	}
	for i, c := range box.ready {
		if !c.is(left) {
			s.settle(c, "", c.deliver())
		}
		s.yield(i)
	}
	clear(box.arrived)
	clear(box.ready)
	s.spare = inbox{arrived: keep(box.arrived), ready: keep(box.ready)}
}

// yield lets other goroutines run now and then where no processor is left to them: raw writes
// would keep those that publish from one for as long as a round lasts. With a processor idle,
// each yield would wake it, only to carry the round over there.
func (s *shard) yield(i int) {
	if s.park.crowded && i%32 == 31 {
		runtime.Gosched()
	}
}

// keep is the slice, emptied, unless it has grown out of proportion.
func keep(s []*conn) []*conn {
	if cap(s) > 1<<16 {
		return nil
	}
	return s[:0]
}

func (s *shard) enter(c *conn) {
	s.conns[c.fd] = c
	cfg := &s.park.cfg
	// Connections that came at one moment need not all be written to at one moment.
	c.counterAt = s.now + cfg.CounterInterval - spread(cfg.CounterInterval/4)
	c.statsAt = s.now + cfg.StatsInterval + spread(cfg.StatsInterval/4) // those of after it came
	c.hasSentID()                                                       // its opening, at the latest
	if s.drain.on {
		s.startDrain(c)
	}
	c.schedule()
}

// spread is a random part of the span.
func spread(span time.Duration) time.Duration { return rand.N(span + 1) } //nolint:gosec // no secret

func (s *shard) startDrain(c *conn) {
	c.bits |= draining
	c.drainAt = s.now + spread(max(0, s.drain.ends-s.now))
	c.schedule()
}

// settle does what follows from how it went with the connection: why it is over, if it is.
func (s *shard) settle(c *conn, why Reason, err error) {
	switch {
	case why != "":
		s.end(c, why)
	case errors.Is(err, hub.ErrBehind):
		s.leave(c)
	case errors.Is(err, hub.ErrEnded):
		s.sayEnded(c)
	case err != nil:
		s.end(c, Gone)
	default:
		c.schedule()
	}
}

// sayEnded ends a stream that was ended from outside.
func (s *shard) sayEnded(c *conn) {
	why := c.owner.Why()
	if why == Expired {
		_ = c.sayExpired() // it is over anyway
	} else {
		_ = c.sayDrain()
	}
	s.end(c, why)
}

func (s *shard) event(e unix.EpollEvent) {
	if e.Fd == int32(s.bell) {
		var heard [8]byte
		_, _ = unix.Read(s.bell, heard[:])
		return
	}
	c := s.conns[e.Fd]
	switch {
	case c == nil: // it is in the inbox yet
	case e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		s.end(c, Gone)
	case c.begun != nil:
		s.settle(c, "", c.proceed())
	}
}

// remove takes the connection out of the shard.
func (s *shard) remove(c *conn) {
	c.bits |= left
	s.wheel.unset(c)
	delete(s.conns, c.fd)
	// Not left to the closing: whoever handed the connection over may be about to close his
	// descriptor, and until then epoll would tell of a number that is another's.
	_ = s.interest(unix.EPOLL_CTL_DEL, c.fd, 0)
	s.park.held.Add(-1)
}

// end closes the connection.
func (s *shard) end(c *conn, why Reason) {
	s.remove(c)
	c.sub.Close()
	closeSocket(c.fd, why)
	s.ended = append(s.ended, ending{c, why})
}

// dismiss tells the owners of the connections that have ended.
func (s *shard) dismiss() {
	if len(s.ended) == 0 {
		return
	}
	ended := s.ended
	s.ended = nil
	s.spawn(func(context.Context) {
		for _, e := range ended {
			e.owner.Ended(e.account, e.why)
		}
	})
}

// leave gives the connection back to its owner, to be read for from the log.
func (s *shard) leave(c *conn) {
	s.remove(c)
	conn, err := netConn(c.fd)
	if err != nil { // the descriptor is closed
		c.sub.Close()
		s.ended = append(s.ended, ending{c, Gone})
		return
	}
	s.spawn(func(ctx context.Context) { c.owner.Behind(ctx, conn, c.account) })
}

// close ends what is left.
func (s *shard) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.empty() // whoever came before
	for _, c := range s.conns {
		s.end(c, Gone)
	}
	s.dismiss()
	_ = unix.Close(s.bell)
	_ = unix.Close(s.epoll)
}
