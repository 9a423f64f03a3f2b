package park

import (
	"strconv"
	"time"

	"freshet/event"
	"freshet/hub"

	"golang.org/x/sys/unix"
)

// conn is a parked connection. Its shard owns it; what others touch is said.
type conn struct {
	shard *shard
	sub   *hub.Subscriber
	owner Owner

	rest []byte // of a frame that is partly written: nothing else may be written before it
	fd   int32
	bits bits

	next, prev *conn // in the wheel
	due        int64

	// Times since the shard began.
	counterAt, statsAt, stallAt, drainAt time.Duration
	sentID                               time.Duration

	count  uint64
	events int
	bytes  int
}

type bits uint8

const (
	hasCounter bits = 1 << iota
	hasStats
	blocked // the socket takes no more: epoll tells when it does
	draining
	left // it is no longer this shard's
)

func (c *conn) is(b bits) bool { return c.bits&b != 0 }

// wake is called by the hub, from its goroutine.
func (c *conn) wake() { c.shard.ready(c) }

// schedule sets the wheel for what comes first.
func (c *conn) schedule(cfg *Config) {
	at := time.Duration(1<<63 - 1)
	if c.is(hasCounter) {
		at = min(at, c.counterAt)
	}
	if c.is(hasStats) {
		at = min(at, c.statsAt)
	}
	if cfg.Heartbeat > 0 {
		at = min(at, c.sentID+cfg.Heartbeat)
	}
	if c.is(blocked) {
		at = c.stallAt // until it takes something, nothing else can be sent
	}
	if c.is(draining) {
		at = min(at, c.drainAt)
	}
	if at < 1<<63-1 {
		c.shard.wheel.set(c, at)
	} else {
		c.shard.wheel.unset(c)
	}
}

// send writes frames of the stream's own, built in the shard's scratch, as one chunk.
func (c *conn) send(frames []byte) error {
	c.bytes += len(frames)
	s := c.shard
	s.chunk = appendChunk(s.chunk[:0], frames)
	n, err := write(c.fd, s.chunk)
	if err != nil {
		return err
	}
	if n < len(s.chunk) {
		c.rest = append([]byte(nil), s.chunk[n:]...)
		c.block()
	}
	return nil
}

// block waits for the socket to take more.
func (c *conn) block() {
	c.bits |= blocked
	c.stallAt = c.shard.now + c.shard.park.cfg.Stall
	c.shard.interest(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLRDHUP|unix.EPOLLOUT)
}

func (c *conn) unblock() {
	c.bits &^= blocked
	c.shard.interest(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLRDHUP)
}

// flush writes what is left of a frame; done is false if the socket does not take all of it.
func (c *conn) flush() (done bool, err error) {
	for len(c.rest) > 0 {
		n, err := write(c.fd, c.rest)
		if err != nil {
			return false, err
		}
		if n == 0 {
			return false, nil
		}
		c.rest = c.rest[n:]
		c.stallAt = c.shard.now + c.shard.park.cfg.Stall
	}
	c.rest = nil
	return true, nil
}

// deliver writes what the subscriber is due. The error is that of the connection, or
// [hub.ErrBehind].
func (c *conn) deliver() error {
	if c.is(blocked) {
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
	for sent < len(s.batch) && !c.is(blocked) {
		n, err := c.writeEntries(s.batch[sent:min(sent+maxVector, len(s.batch))])
		if err != nil {
			return err
		}
		sent += n
	}
	if sent < len(s.batch) {
		c.sub.Return(s.batch[sent])
	}
	if sent > 0 {
		c.sentID = s.now
		c.sub.Delivered(s.batch[:sent], time.Now())
	}
	return nil
}

// maxVector is how many buffers one writev takes at most (IOV_MAX).
const maxVector = 1024

// writeEntries returns how many of the entries need not be written again: those that are
// written, and one that is partly.
func (c *conn) writeEntries(entries []*hub.Entry) (int, error) {
	s := c.shard
	var n int
	var err error
	if len(entries) == 1 {
		n, err = write(c.fd, entries[0].Chunk)
	} else {
		s.vector = s.vector[:0]
		for _, e := range entries {
			s.vector = append(s.vector, e.Chunk)
		}
		n, err = writev(c.fd, s.vector)
		clear(s.vector)
	}
	if err != nil {
		return 0, err
	}
	for i, e := range entries {
		if n == 0 {
			c.block()
			return i, nil
		}
		c.events++
		c.bytes += len(e.Frame)
		if n < len(e.Chunk) {
			c.rest = e.Chunk[n:]
			c.block()
			return i + 1, nil
		}
		n -= len(e.Chunk)
	}
	return len(entries), nil
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
		if !c.is(blocked) {
			s.frames = event.AppendCursor(s.frames[:0], event.ID{}, cfg.Retry())
			s.frames = event.AppendFrame(s.frames, event.Drain())
			c.events++
			c.bytes += len(s.frames)
			// The chunk, and the one that ends the answer. What the socket does not take is lost
			// with it: the reader comes back by its last event ID.
			s.chunk = append(appendChunk(s.chunk[:0], s.frames), "0\r\n\r\n"...)
			_, err = write(c.fd, s.chunk)
		}
		return Drained, err
	}
	if c.is(blocked) {
		if s.now >= c.stallAt {
			return Stalled, nil
		}
		return "", nil
	}
	if c.is(hasCounter) && s.now >= c.counterAt {
		c.counterAt += cfg.CounterInterval * ((s.now-c.counterAt)/cfg.CounterInterval + 1)
		c.count++
		c.events++
		s.frames = event.AppendFrame(s.frames[:0], event.Counter(c.count))
		if err := c.send(s.frames); err != nil {
			return "", err
		}
	}
	if c.is(hasStats) && s.now >= c.statsAt && !c.is(blocked) {
		c.statsAt += cfg.StatsInterval * ((s.now-c.statsAt)/cfg.StatsInterval + 1)
		if e := cfg.Stats(); e != nil {
			c.events++
			s.frames = event.AppendFrame(s.frames[:0], *e)
			if err := c.send(s.frames); err != nil {
				return "", err
			}
		}
	}
	if cfg.Heartbeat > 0 && s.now >= c.sentID+cfg.Heartbeat && !c.is(blocked) {
		if err := c.deliver(); err != nil || c.is(blocked) {
			return "", err
		}
		if s.now >= c.sentID+cfg.Heartbeat {
			c.sentID = s.now
			s.frames = event.AppendCursor(s.frames[:0], c.sub.Cursor(), 0)
			return "", c.send(s.frames)
		}
	}
	return "", nil
}

// write writes what the socket takes now, which may be nothing.
func write(fd int32, p []byte) (int, error) { return took(unix.Write(int(fd), p)) }

func writev(fd int32, p [][]byte) (int, error) { return took(unix.Writev(int(fd), p)) }

func took(n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, err
}
