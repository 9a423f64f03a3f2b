//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
)

// state says what a reader expects next, because answers arrive in pieces that end anywhere.
type state uint8

const (
	connecting state = iota
	inHead
	inSize // of a chunk (RFC 9112, 7.1)
	inChunk
	afterChunk
	inBody // of an answer without chunks
	ended
)

// reader is one connection.
type reader struct {
	fd     int32
	state  state
	digits uint8 // missing digits of number and time
	seen   uint8 // bytes of a count's line so far
	left   int   // missing bytes of the chunk
	next   uint64
	number uint64
	stamp  uint64
	head   []byte // until it is complete
}

var errBroken = errors.New("the answer is truncated or malformed")

// parse reads a piece of the answer.
func (r *reader) parse(s *Swarm, p []byte) error {
	for len(p) > 0 {
		switch r.state {
		case inHead:
			r.head = append(r.head, p...)
			end := bytes.Index(r.head, []byte("\r\n\r\n"))
			if end < 0 {
				return nil
			}
			p = r.head[end+4:]
			head := bytes.ToLower(r.head[:end])
			r.head = nil
			if !bytes.HasPrefix(head, []byte("http/1.1 200")) {
				return fmt.Errorf("a stream was answered with %q", head)
			}
			r.state = inBody
			if bytes.Contains(head, []byte("transfer-encoding: chunked")) {
				r.state = inSize
			}
			s.opened++
		case inSize:
			end := bytes.IndexByte(p, '\n')
			for _, c := range p[:max(end, 0)] {
				r.parseSize(c)
			}
			if end < 0 {
				for _, c := range p {
					r.parseSize(c)
				}
				return nil
			}
			p = p[end+1:]
			if r.state = inChunk; r.left == 0 {
				return errBroken // these streams have no end
			}
		case inChunk:
			n := min(r.left, len(p))
			r.parseBody(s, p[:n])
			p = p[n:]
			if r.left -= n; r.left == 0 {
				r.state = afterChunk
			}
		case afterChunk:
			if p[0] == '\n' {
				r.state = inSize
			}
			p = p[1:]
		case inBody:
			r.parseBody(s, p)
			return nil
		default:
			return errBroken
		}
	}
	return nil
}

// parseSize reads a byte of a chunk's size.
func (r *reader) parseSize(c byte) {
	if d, ok := digit(c); ok {
		r.left = r.left<<4 | int(d)
	}
}

// parseBody looks for events in a piece of the body.
func (r *reader) parseBody(s *Swarm, p []byte) {
	if s.cfg.Counter {
		r.parseCounts(s, p)
		return
	}
	for len(p) > 0 {
		if r.digits == 0 {
			i := bytes.IndexByte(p, marker)
			if i < 0 {
				return
			}
			p = p[i+1:]
			r.digits, r.number, r.stamp = 32, 0, 0
			continue
		}
		n := min(int(r.digits), len(p))
		for _, c := range p[:n] {
			d, _ := digit(c) // any other byte makes a wrong number, which is out of order
			if r.digits > 16 {
				r.number = r.number<<4 | uint64(d)
			} else {
				r.stamp = r.stamp<<4 | uint64(d)
			}
			r.digits--
		}
		p = p[n:]
		if r.digits == 0 {
			s.arrived(r)
		}
	}
}

// parseCounts reads the topic counter: lines such as "data: 17", and others.
func (r *reader) parseCounts(s *Swarm, p []byte) {
	const name = "data: "
	for _, c := range p {
		switch {
		case c == '\n':
			if r.seen == uint8(len(name)) {
				s.arrived(r)
			}
			r.seen, r.number = 0, 0
		case r.seen < uint8(len(name)) && c == name[r.seen]:
			r.seen++
		case r.seen == uint8(len(name)) && c >= '0' && c <= '9':
			r.number = r.number*10 + uint64(c-'0')
		default:
			r.seen = 255 // ignore the rest of the line
		}
	}
}

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
