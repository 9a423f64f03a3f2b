package soak

import (
	"fmt"
	"strconv"
	"strings"

	"freshet/event"
)

// checker checks the frames of one reader over all of its connections. Each topic has one
// publisher, which numbers its events, and the type of an event is its topic. So a reader notices
// by itself which events are missing.
type checker struct {
	all       bool              // the reader gets every event, so sequences have no holes
	fromFirst bool              // it reads each topic from its first event on
	due       map[string]uint64 // by topic: the next number
	last      event.ID
	gaps      int
	seen      map[string]bool // topics with an event since the last gap
}

func newChecker(all bool) *checker {
	return &checker{all: all, due: map[string]uint64{}, seen: map[string]bool{}}
}

// check returns an error if the frame is not one that may come next.
func (c *checker) check(frame event.Frame) error {
	if frame.Type == "busy" {
		return nil // the server is full, and ends the stream
	}
	if frame.HasData && frame.Type == "gap" {
		c.gaps++
		clear(c.seen)
	}
	if !frame.HasData || frame.Type == "gap" {
		return c.advance(frame.ID, false)
	}
	text, _, _ := strings.Cut(frame.Data, " ")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("event %s has the data %.40q", frame.ID, frame.Data)
	}
	due := c.due[frame.Type]
	if due == 0 && c.fromFirst {
		due = 1
	}
	mayJump := due == 0 || c.gaps > 0 && !c.seen[frame.Type]
	if number < due || number > due && !mayJump {
		return fmt.Errorf("event %s of %s is number %d, want %d; it came after %v and %d gaps", frame.ID, frame.Type, number, due, c.last, c.gaps)
	}
	c.due[frame.Type], c.seen[frame.Type] = number+1, true
	return c.advance(frame.ID, true)
}

// advance moves the reader's position to the ID of an event, or of a frame without one.
func (c *checker) advance(text string, isEvent bool) error {
	if text == "" {
		return nil
	}
	id, err := event.ParseID(text)
	switch {
	case err != nil:
		return err
	case isEvent && id.Seq() <= c.last.Seq(), id.Seq() < c.last.Seq():
		return fmt.Errorf("%v came after %v", id, c.last)
	case isEvent && c.all && !c.last.IsZero() && id.Seq() != c.last.Seq()+1:
		return fmt.Errorf("%v came after %v: events are missing", id, c.last)
	}
	c.last = id
	return nil
}
