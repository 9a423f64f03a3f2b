//go:build linux

package rivals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The answers of the minimal server.
const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
	published  = "HTTP/1.1 204 No Content\r\n\r\n"
)

// slots is how many parts a second of the counter has. A reader gets its counts in the part in
// which it connected.
const slots = 100

// minimal shows the limit for one thread that writes each event to each reader separately: prepared
// bytes, bare sockets, one write for a delivery. It knows only as much of HTTP as the benchmarks
// use, and keeps no events.
type minimal struct {
	listener int
	epoll    int
	peers    map[int]*peer
	readers  []*peer
	counting [slots][]*peer
	slot     int
	events   int
	buf      []byte
}

// peer is one connection.
type peer struct {
	fd      int
	request []byte
	unsent  []byte // bytes that did not fit into the socket
	count   int64
}

func serveMinimal(ctx context.Context, l net.Listener, out io.Writer) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.New("no TCP listener")
	}
	file, err := tcp.File() // a duplicate, which is blocking by default
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // the process ends
	m := &minimal{listener: int(file.Fd()), peers: map[int]*peer{}, buf: make([]byte, 64<<10)}
	if m.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := errors.Join(unix.SetNonblock(m.listener, true), m.watch(unix.EPOLL_CTL_ADD, m.listener, unix.EPOLLIN)); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready", l.Addr())
	return m.run(ctx)
}

func (m *minimal) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(m.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (m *minimal) run(ctx context.Context) error {
	ready := make([]unix.EpollEvent, 256)
	const slot = time.Second / slots
	next := time.Now().Add(slot)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(m.epoll, ready, m.wait(next))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range ready[:max(n, 0)] {
			if err := m.serve(int(e.Fd), e.Events); err != nil {
				return err
			}
		}
		for !time.Now().Before(next) {
			m.tick()
			next = next.Add(slot)
		}
	}
	return nil
}

// wait returns milliseconds: until the next part of a second, if there are readers of the counter.
func (m *minimal) wait(next time.Time) int {
	for _, readers := range m.counting {
		if len(readers) > 0 {
			return max(0, int((time.Until(next) + time.Millisecond - 1).Milliseconds()))
		}
	}
	return 1000
}

// serve handles a socket that is ready.
func (m *minimal) serve(fd int, events uint32) error {
	if fd == m.listener {
		return m.accept()
	}
	p := m.peers[fd]
	if p == nil {
		return nil
	}
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		m.drop(p)
		return nil
	}
	if events&unix.EPOLLOUT != 0 {
		rest := p.unsent
		p.unsent = nil
		m.send(p, rest)
		if p.unsent == nil {
			return m.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
		}
		return nil
	}
	n, err := unix.Read(fd, m.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil || n == 0 {
		m.drop(p)
		return nil
	}
	p.request = append(p.request, m.buf[:n]...)
	for m.answer(p) {
	}
	return nil
}

func (m *minimal) accept() error {
	for {
		fd, _, err := unix.Accept4(m.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		m.peers[fd] = &peer{fd: fd}
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), m.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN))
		if err != nil {
			return err
		}
	}
}

// answer answers one request if it is complete.
func (m *minimal) answer(p *peer) bool {
	end := bytes.Index(p.request, []byte("\r\n\r\n"))
	if end < 0 {
		return false
	}
	head, body := p.request[:end+2], p.request[end+4:]
	if bytes.HasPrefix(head, []byte("GET ")) {
		counter := bytes.HasPrefix(head, []byte("GET /counter "))
		p.request = nil
		m.send(p, []byte(streamHead))
		if counter {
			m.counting[m.slot] = append(m.counting[m.slot], p)
		} else {
			m.readers = append(m.readers, p)
		}
		return false
	}
	length := contentLength(head)
	if len(body) < length {
		return false
	}
	m.publish(body[:length])
	m.send(p, []byte(published))
	p.request = append(p.request[:0], body[length:]...)
	return len(p.request) > 0
}

func contentLength(head []byte) int {
	_, rest, _ := bytes.Cut(head, []byte("Content-Length: "))
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0
	}
	return n
}

// publish writes the event to each reader. The chunk is built once.
func (m *minimal) publish(data []byte) {
	m.events++
	frame := fmt.Appendf(nil, "event: bench\ndata: %s\nid: minimal-%d\n\n", data, m.events)
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(frame), frame)
	for _, p := range m.readers {
		m.send(p, chunk)
	}
}

// tick writes the counts that are due in this part of the second.
func (m *minimal) tick() {
	m.slot = (m.slot + 1) % slots
	for _, p := range m.counting[m.slot] {
		p.count++
		digits := strconv.AppendInt(nil, p.count, 10)
		chunk := strconv.AppendInt(m.buf[:0], int64(len(digits)+8), 16)
		chunk = append(append(append(chunk, "\r\ndata: "...), digits...), "\n\n\r\n"...)
		m.send(p, chunk)
	}
}

// send writes as much as the socket accepts and keeps the rest for later.
func (m *minimal) send(p *peer, text []byte) {
	if p.fd < 0 {
		return
	}
	n := 0
	if p.unsent == nil {
		var err error
		if n, err = unix.Write(p.fd, text); err != nil {
			n = 0 // if the socket is broken, reading fails too
		}
		if n == len(text) {
			return
		}
		_ = m.watch(unix.EPOLL_CTL_MOD, p.fd, unix.EPOLLIN|unix.EPOLLOUT) // the socket was added
	}
	p.unsent = append(p.unsent, text[n:]...)
}

func (m *minimal) drop(p *peer) {
	delete(m.peers, p.fd)
	_ = unix.Close(p.fd) // the peer has closed it
	p.fd, p.unsent = -1, nil
}
