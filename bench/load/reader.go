//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
)

// place is where in an answer a reader is: bytes come in pieces that end anywhere.
type place uint8

const (
	connecting place = iota
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
	at     place
	digits uint8 // of number and time that are still to come
	seen   uint8 // bytes of a count's line
	left   int   // bytes of the chunk
	next   uint64
	number uint64
	stamp  uint64
	head   []byte // until it is complete
}

var errBroken = errors.New("the answer is broken off or malformed")

// take reads a piece of the answer.
func (r *reader) take(s *Swarm, p []byte) error {
	for len(p) > 0 {
		switch r.at {
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
			r.at = inBody
			if bytes.Contains(head, []byte("transfer-encoding: chunked")) {
				r.at = inSize
			}
			s.opened++
		case inSize:
			end := bytes.IndexByte(p, '\n')
			for _, c := range p[:max(end, 0)] {
				r.size(c)
			}
			if end < 0 {
				for _, c := range p {
					r.size(c)
				}
				return nil
			}
			p = p[end+1:]
			if r.at = inChunk; r.left == 0 {
				return errBroken // a stream of ours has no end
			}
		case inChunk:
			n := min(r.left, len(p))
			r.body(s, p[:n])
			p = p[n:]
			if r.left -= n; r.left == 0 {
				r.at = afterChunk
			}
		case afterChunk:
			if p[0] == '\n' {
				r.at = inSize
			}
			p = p[1:]
		case inBody:
			r.body(s, p)
			return nil
		default:
			return errBroken
		}
	}
	return nil
}

func (r *reader) size(c byte) {
	if d, ok := digit(c); ok {
		r.left = r.left<<4 | int(d)
	}
}

// body looks for events in a piece of the body.
func (r *reader) body(s *Swarm, p []byte) {
	if s.cfg.Counter {
		r.counts(s, p)
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
			d, _ := digit(c) // another byte makes another number, which is out of order
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

// counts reads the topic counter: lines "data: 17", and others.
func (r *reader) counts(s *Swarm, p []byte) {
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
			r.seen = 255 // until the line's end
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
