package park

import (
	"bytes"
	"errors"
	"strconv"
	"time"
	"unsafe"

	"freshet/event"
	"freshet/hub"

	"golang.org/x/sys/unix"
)

// conn is a parked connection. Its shard owns it; what others touch is said.
type conn struct {
	shard *shard
	sub   *hub.Subscriber
	owner Owner

	begun *begun // a frame that is not all written; nil: none
	fd    int32
	bits  bits

	next, prev *conn // in the wheel
	due        int64

	// Times since the shard began.
	counterAt, statsAt, beatAt, drainAt time.Duration

	account Account
}

// begun is a frame that the socket has not taken all of: epoll tells when it takes more, and
// nothing else may be written before.
type begun struct {
	rest    []byte
	acked   uint64        // bytes that the peer has taken in all,
	tookAt  time.Duration // and when it was last seen to have taken some
	checkAt time.Duration // when to look again
}

// stallChecks is how many times within Config.Stall it is looked whether a peer takes something.
const stallChecks = 30

type bits uint8

const (
	hasCounter bits = 1 << iota
	hasStats
	takesLines
	draining
	left // it is no longer this shard's
)

func (c *conn) is(b bits) bool { return c.bits&b != 0 }

// wake is called by the hub, from its goroutine.
func (c *conn) wake() {
	_ = c.shard.post(func(in *inbox) error { // a closed one has ended c
		in.ready = append(in.ready, c)
		return nil
	})
}

// schedule sets the wheel for what comes first, or for earlier: what comes up before its
// time is scheduled once more.
func (c *conn) schedule() {
	const never = time.Duration(1<<63 - 1)
	at := never
	if c.is(hasCounter) {
		at = min(at, c.counterAt)
	}
	if c.is(hasStats) {
		at = min(at, c.statsAt)
	}
	if c.shard.park.cfg.Heartbeat > 0 {
		at = min(at, c.beatAt)
	}
	if c.begun != nil {
		at = c.begun.checkAt // until it takes something, nothing else can be sent
	}
	if c.is(draining) {
		at = min(at, c.drainAt)
	}
	if at < never && (c.due == 0 || c.shard.wheel.tickOf(at) < c.due) {
		c.shard.wheel.set(c, at)
	}
}

// hasSentID puts the heartbeat off. Connections that got one event at one moment need not all
// get a heartbeat at one moment.
func (c *conn) hasSentID() {
	d := c.shard.park.cfg.Heartbeat
	c.beatAt = c.shard.now + d - spread(d/8)
}

// send writes frames of the stream's own, built in the shard's scratch, as one chunk.
func (c *conn) send(frames []byte) error {
	c.account.Bytes += len(frames)
	s := c.shard
	s.chunk = appendChunk(s.chunk[:0], frames)
	n, err := write(c.fd, s.chunk)
	if err != nil {
		return err
	}
	if n < len(s.chunk) {
		return c.block(bytes.Clone(s.chunk[n:]))
	}
	return nil
}

// block waits for the socket to take the rest of a frame.
func (c *conn) block(rest []byte) error {
	now := c.shard.now
	c.begun = &begun{rest, acked(c.fd), now, now + c.shard.park.cfg.Stall/stallChecks}
	return c.shard.interest(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLRDHUP|unix.EPOLLOUT)
}

// proceed writes the rest of the frame, and then what else the subscriber is due.
func (c *conn) proceed() error {
	for b := c.begun; len(b.rest) > 0; {
		n, err := write(c.fd, b.rest)
		if err != nil || n == 0 {
			return err
		}
		b.rest = b.rest[n:]
	}
	c.begun = nil
	if err := c.shard.interest(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLRDHUP); err != nil {
		return err
	}
	return c.deliver()
}

// deliver writes what the subscriber is due. The error is that of the connection, or
// [hub.ErrBehind], when nothing of a frame is left.
func (c *conn) deliver() error {
	if c.begun != nil {
		if c.sub.Ended() {
			return hub.ErrEnded
		}
		return nil
	}
	s := c.shard
	var err error
	s.batch, err = c.sub.Next(s.batch[:0])
	if err != nil || len(s.batch) == 0 {
		return err
	}
	defer clear(s.batch) // entries that leave the window are not to live on here
	sent := 0
	for sent < len(s.batch) && c.begun == nil {
		n, err := c.writeEntries(s.batch[sent:min(sent+maxVector, len(s.batch))])
		if err != nil {
			return err
		}
		sent += n
	}
	if sent < len(s.batch) {
		c.sub.Return(s.batch[sent])
	}
	c.hasSentID()
	c.sub.Delivered(s.batch[:sent], time.Now())
	return nil
}

// maxVector is how many buffers one writev takes at most (IOV_MAX).
const maxVector = 1024

// writeEntries returns how many of the entries are written, with one that is to be by its rest.
func (c *conn) writeEntries(entries []*hub.Entry) (int, error) {
	s := c.shard
	s.encoded, s.vector = s.encoded[:0], s.vector[:0]
	defer func() { clear(s.encoded); clear(s.vector) }()
	for _, e := range entries {
		encoded := c.encoded(e)
		s.encoded, s.vector = append(s.encoded, encoded), append(s.vector, encoded.Chunk)
	}
	var n int
	var err error
	if len(entries) == 1 {
		n, err = write(c.fd, s.vector[0])
	} else {
		n, err = writev(c.fd, s.vector)
	}
	if err != nil {
		return 0, err
	}
	for i, e := range s.encoded {
		c.account.Events++
		c.account.Bytes += len(e.Bytes)
		if n < len(e.Chunk) {
			return i + 1, c.block(e.Chunk[n:])
		}
		n -= len(e.Chunk)
	}
	return len(entries), nil
}

func (c *conn) encoded(e *hub.Entry) hub.Encoded {
	if c.is(takesLines) {
		return e.Line()
	}
	return e.Frame()
}

func (c *conn) appendEvent(dst []byte, e event.Event) []byte {
	if c.is(takesLines) {
		return event.AppendLine(dst, e)
	}
	return event.AppendFrame(dst, e)
}

func (c *conn) appendCursor(dst []byte, cursor event.ID, retry time.Duration) []byte {
	if c.is(takesLines) {
		return event.AppendCursorLine(dst, cursor, retry)
	}
	return event.AppendCursor(dst, cursor, retry)
}

func appendChunk(dst, frames []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(len(frames)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, frames...)
	return append(dst, "\r\n"...)
}

// tick sends what has come due. It returns why the stream is over, if it is.
func (c *conn) tick() (over Reason, err error) {
	s, cfg := c.shard, &c.shard.park.cfg
	if c.is(draining) && s.now >= c.drainAt {
		return Drained, c.sayDrain()
	}
	if b := c.begun; b != nil && s.now >= b.checkAt {
		// By what the peer has acknowledged: a socket may take some bytes more of a peer that takes none.
		if acked := acked(c.fd); acked != b.acked {
			b.acked, b.tookAt = acked, s.now
		}
		if s.now >= b.tookAt+cfg.Stall {
			return Stalled, nil
		}
		b.checkAt = s.now + cfg.Stall/stallChecks
		// Epoll tells once a third of the buffer is free: a slow reader may have made less room.
		if err := c.proceed(); err != nil {
			return "", err
		}
	}
	if c.is(hasCounter) && s.now >= c.counterAt && c.begun == nil {
		c.counterAt += cfg.CounterInterval * ((s.now-c.counterAt)/cfg.CounterInterval + 1)
		c.account.Count++
		c.account.Events++
		s.frames = c.appendEvent(s.frames[:0], event.Counter(c.account.Count))
		if err := c.send(s.frames); err != nil {
			return "", err
		}
	}
	if c.is(hasStats) && s.now >= c.statsAt && c.begun == nil {
		c.statsAt += cfg.StatsInterval * ((s.now-c.statsAt)/cfg.StatsInterval + 1)
		if e := cfg.Stats(); e != nil {
			c.account.Events++
			s.frames = c.appendEvent(s.frames[:0], *e)
			if err := c.send(s.frames); err != nil {
				return "", err
			}
		}
	}
	if cfg.Heartbeat > 0 && s.now >= c.beatAt && c.begun == nil {
		if err := c.deliver(); err != nil || c.begun != nil {
			return "", err
		}
		if s.now >= c.beatAt {
			c.hasSentID()
			s.frames = c.appendCursor(s.frames[:0], c.sub.Cursor(), 0)
			return "", c.send(s.frames)
		}
	}
	return "", nil
}

// sayDrain sends the last words of a stream whose reader is to come back.
func (c *conn) sayDrain() error {
	s := c.shard
	s.frames = c.appendCursor(s.frames[:0], event.ID{}, s.park.cfg.Retry())
	s.frames = c.appendEvent(s.frames, event.Drain())
	return c.sayLast(s.frames)
}

// sayExpired sends those of one whose reader may read no longer.
func (c *conn) sayExpired() error {
	s := c.shard
	s.frames = c.appendEvent(s.frames[:0], event.AuthExpired())
	return c.sayLast(s.frames)
}

// sayLast sends the frames, which are an event, and the end of the answer, unless another is
// begun. What the socket does not take is lost with it: the reader comes back by its last
// event ID.
func (c *conn) sayLast(frames []byte) error {
	if c.begun != nil {
		return nil
	}
	c.account.Events++
	c.account.Bytes += len(frames)
	c.shard.chunk = append(appendChunk(c.shard.chunk[:0], frames), "0\r\n\r\n"...)
	_, err := write(c.fd, c.shard.chunk)
	return err
}

// acked is how many bytes the peer has acknowledged; 0 where the system does not know.
func acked(fd int32) uint64 {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.Bytes_acked
}

// write writes what the socket takes now, which may be nothing.
//
// The call is raw: the socket never waits, so the scheduler need not be told, which would hand
// the processor to another thread in the midst of a round.
func write(fd int32, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // lasts as long as the call
	if errno != 0 {
		return took(0, errno)
	}
	return int(n), nil
}

func writev(fd int32, p [][]byte) (int, error) { return took(unix.Writev(int(fd), p)) }

func took(n int, err error) (int, error) {
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	}
	return 0, err
}
