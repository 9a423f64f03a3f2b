package park

import (
	"bytes"
	"errors"
	"time"
	"unsafe"

	"freshet/event"
	"freshet/hub"
	"freshet/stream"

	"golang.org/x/sys/unix"
)

// conn is a parked connection, the [stream.Output] of its stream. Its shard owns it.
type conn struct {
	shard   *shard
	stream  *stream.Stream
	partial *partialWrite // nil: the socket has taken everything
	fd      int32
	closed  bool  // the shard no longer has it
	sent    int16 // bytes that the peer has sent, at most twice stream.MaxUnread

	next, prev *conn // in the wheel
	due        int64
}

// partialWrite is a write that the socket has not taken all of. Nothing else may be written
// before the rest.
type partialWrite struct {
	rest       []byte
	acked      uint64        // bytes that the peer has acknowledged in all,
	progressAt time.Duration // and when it was last seen to acknowledge more
	checkAt    time.Duration // when to look again
}

// stallChecks is how many times within the stall time a blocked peer is looked at.
const stallChecks = 30

// wake is called from any goroutine.
func (c *conn) wake() {
	_ = c.shard.post(func(in *inbox) { in.ready = append(in.ready, c) }) // a closed shard has ended c
}

// Blocked reports whether the socket takes nothing now.
func (c *conn) Blocked() bool { return c.partial != nil }

// Write writes one chunk.
func (c *conn) Write(p event.Encoded) error {
	n, err := write(c.fd, p.Chunk)
	if err == nil && n < len(p.Chunk) {
		err = c.block(bytes.Clone(p.Chunk[n:])) // the stream reuses p's memory
	}
	return err
}

// maxVector is how many buffers one writev takes at most (IOV_MAX).
const maxVector = 1024

// WriteEntries writes a chunk for each entry. The last one taken may be partly written.
func (c *conn) WriteEntries(entries []*hub.Entry, f event.Format) (taken int, err error) {
	for taken < len(entries) && c.partial == nil {
		n, err := c.writeVector(entries[taken:min(taken+maxVector, len(entries))], f)
		if err != nil {
			return taken, err
		}
		taken += n
	}
	return taken, nil
}

func (c *conn) writeVector(entries []*hub.Entry, f event.Format) (taken int, err error) {
	if len(entries) == 1 {
		chunk := entries[0].Encoded(f).Chunk
		n, err := write(c.fd, chunk)
		if err == nil && n < len(chunk) {
			err = c.block(chunk[n:])
		}
		return 1, err
	}
	s := c.shard
	defer func() {
		clear(s.vector)
		s.vector = s.vector[:0]
	}()
	for _, e := range entries {
		s.vector = append(s.vector, e.Encoded(f).Chunk)
	}
	n, err := written(unix.Writev(int(c.fd), s.vector))
	if err != nil {
		return 0, err
	}
	for i, chunk := range s.vector {
		if n < len(chunk) {
			return i + 1, c.block(chunk[n:])
		}
		n -= len(chunk)
	}
	return len(entries), nil
}

// block keeps the rest of a write until the socket takes more.
func (c *conn) block(rest []byte) error {
	now := c.shard.now
	c.partial = &partialWrite{rest, acked(c.fd), now, now + c.shard.stall()/stallChecks}
	return c.shard.interest(unix.EPOLL_CTL_MOD, c.fd, events|unix.EPOLLOUT)
}

// unblock writes the rest of a partial write. If the socket still does not take all of it,
// it checks whether the peer has stalled.
func (c *conn) unblock() error {
	p, now := c.partial, c.shard.now
	for len(p.rest) > 0 {
		n, err := write(c.fd, p.rest)
		if err != nil {
			return err
		}
		if n == 0 {
			return c.checkStall(p, now)
		}
		p.rest = p.rest[n:]
	}
	c.partial = nil
	return c.shard.interest(unix.EPOLL_CTL_MOD, c.fd, events)
}

// discard reads what the peer sends. A little is allowed; more would be work without end.
func (c *conn) discard() error {
	n, err := unix.Read(int(c.fd), c.shard.unread[:])
	if c.sent += int16(max(n, 0)); c.sent > stream.MaxUnread {
		return stream.ErrSent
	}
	_, err = written(0, err)
	return err
}

// checkStall goes by what the peer has acknowledged: a socket may take a few more bytes
// although its peer takes none.
func (c *conn) checkStall(p *partialWrite, now time.Duration) error {
	if now < p.checkAt {
		return nil
	}
	p.checkAt = now + c.shard.stall()/stallChecks
	if acked := acked(c.fd); acked != p.acked {
		p.acked, p.progressAt = acked, now
	}
	if now >= p.progressAt+c.shard.stall() {
		return stream.ErrStalled
	}
	return nil
}

// acked is how many bytes the peer has acknowledged; 0 where the system does not know.
func acked(fd int32) uint64 {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.Bytes_acked
}

// closeSocket closes the connection. A whole response gets its last chunk, and bytes of the
// peer that nobody has read are read first: they would reset the connection, and the last
// event with it.
func (c *conn) closeSocket(whole bool) {
	if whole && c.partial == nil {
		_, _ = write(c.fd, []byte(event.LastChunk))
		var unread [4096]byte
		for range 16 {
			if n, err := unix.Read(int(c.fd), unread[:]); n <= 0 || err != nil {
				break
			}
		}
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
	_ = unix.Close(int(c.fd))
}

// write writes what the socket takes now, which may be nothing.
//
// The system call is raw: the socket never blocks, so the scheduler need not know, which
// would hand the processor to another thread in the middle of a round.
func write(fd int32, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // lasts as long as the call
	if errno != 0 {
		return written(0, errno)
	}
	return int(n), nil
}

func written(n int, err error) (int, error) {
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	}
	return 0, err
}
