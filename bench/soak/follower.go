package main

import (
	"fmt"
	"strconv"
	"strings"

	"freshet/event"
)

// follower checks what one reader is given, over all its connections. The events of each
// topic are numbered by their one publisher and have the topic's name as their type, so a
// reader finds out by itself what it misses.
type follower struct {
	all   bool              // the reader is due every event: their sequences have no hole
	first bool              // it reads each topic from its first event on
	next  map[string]uint64 // by topic: the number that is due
	last  event.ID
	gaps  int
	known map[string]bool // topics that came since the last gap
}

func newFollower() *follower {
	return &follower{next: map[string]uint64{}, known: map[string]bool{}}
}

// see takes the next frame and returns what is wrong with it.
func (f *follower) see(frame event.Frame) error {
	if frame.HasData && frame.Type == "gap" {
		f.gaps++
		clear(f.known)
	}
	if !frame.HasData || frame.Type == "gap" {
		return f.move(frame.ID, false)
	}
	text, _, _ := strings.Cut(frame.Data, " ")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("event %s has the data %.40q", frame.ID, frame.Data)
	}
	due := f.next[frame.Type]
	if due == 0 && f.first {
		due = 1
	}
	mayJump := due == 0 || f.gaps > 0 && !f.known[frame.Type]
	if number < due || number > due && !mayJump {
		return fmt.Errorf("event %s of %s is number %d, and %d was due after %v, %d gaps", frame.ID, frame.Type, number, due, f.last, f.gaps)
	}
	f.next[frame.Type], f.known[frame.Type] = number+1, true
	return f.move(frame.ID, true)
}

// move moves the reader's place to the ID: with an event, or only the cursor.
func (f *follower) move(text string, isEvent bool) error {
	if text == "" {
		return nil
	}
	id, err := event.ParseID(text)
	switch {
	case err != nil:
		return err
	case isEvent && id.Seq() <= f.last.Seq(), id.Seq() < f.last.Seq():
		return fmt.Errorf("%v came after %v", id, f.last)
	case isEvent && f.all && !f.last.IsZero() && id.Seq() != f.last.Seq()+1:
		return fmt.Errorf("%v came after %v: events are missing", id, f.last)
	}
	f.last = id
	return nil
}
