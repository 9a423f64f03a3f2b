package hub_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"freshet/event"
	"freshet/eventlog/eventlogtest"
	"freshet/hub"
)

// Subscribers come and go on a window of a few events during publishing. Each resumes at the cursor of the one before,
// so a cursor must never pass an event that was not returned.
func TestCursorsNeverPassAnEventThatWasNotReturned(t *testing.T) {
	const total = 60_000
	log := eventlogtest.NewMemory()
	h := start(t, log, hub.Config{WindowBytes: 3000, Replays: 2})
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range total {
			log.Publish(t, topicOf(i), strconv.Itoa(i))
		}
	}()
	ended := make(chan error)
	readers := []string{">", "a.*", "b.1", "rare"}
	for _, pattern := range readers {
		go func() { ended <- comeAndGo(t, h, pattern, total) }()
	}
	for range readers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	<-published
}

// When nothing is due, the cursor of a subscriber to all events is at the last event that it got.
func TestTheCursorOfAnIdleSubscriber(t *testing.T) {
	const total = 100_000
	log := eventlogtest.NewMemory()
	h := start(t, log, hub.Config{})
	s, err := h.Subscribe(t.Context(), hub.Request{Patterns: eventlogtest.Patterns(t, ">"), Wake: func() {}})
	must(t, err)
	defer s.Close()
	go func() {
		for range total {
			log.Publish(t, "a", "")
		}
	}()
	for last := uint64(0); last < total; {
		entries, err := s.Next(nil)
		must(t, err)
		if n := len(entries); n > 0 {
			last = entries[n-1].Event.ID().Seq()
		}
		if cursor := s.Cursor().Seq(); cursor != last && len(entries) == 0 {
			t.Fatalf("cursor %d, last event %d", cursor, last)
		}
	}
}

// comeAndGo reads the pattern up to the sequence with many subscribers, one after the other.
func comeAndGo(t *testing.T, h *hub.Hub, pattern string, total uint64) error {
	patterns := eventlogtest.Patterns(t, pattern)
	// Every event that matches was returned once up to checked.
	checked := uint64(0)
	check := func(upto uint64) error {
		for checked++; checked < upto; checked++ {
			if patterns.Match(topic(t, topicOf(int(checked-1)))) {
				return errors.New(pattern + ": missed " + strconv.FormatUint(checked, 10))
			}
		}
		return nil
	}
	for checked < total {
		ready := make(chan struct{}, 1)
		wake := func() {
			select {
			case ready <- struct{}{}:
			default:
			}
		}
		s, err := h.Subscribe(t.Context(), hub.Request{Patterns: patterns, LastEventID: event.NewID(eventlogtest.Epoch, checked).String(), Wake: wake})
		if err != nil {
			return err
		}
		for range 30 {
			entries, err := s.Next(nil)
			if errors.Is(err, hub.ErrBehind) {
				entries, err = s.Replay(t.Context())
				wake()
			}
			if err != nil {
				return err
			}
			for _, e := range entries {
				seq := e.Event.ID().Seq()
				if seq <= checked {
					return errors.New(pattern + ": repeated " + e.Event.ID().String())
				}
				if err := check(seq); err != nil {
					return err
				}
			}
			select {
			case <-ready:
			case <-time.After(time.Millisecond): // look at the cursor now and then
			}
		}
		if cursor := s.Cursor().Seq(); cursor > checked {
			if err := check(cursor + 1); err != nil {
				return err
			}
			checked = cursor
		}
		s.Close()
	}
	return nil
}

// A reader that begins with the newest event of each topic misses and repeats nothing, although publishing goes on
// meanwhile.
func TestTheNewestOfEachTopicWhilePublishing(t *testing.T) {
	log := eventlogtest.NewMemory()
	for i := range 3000 { // more topics than one piece
		log.Publish(t, "t."+strconv.Itoa(i), "")
	}
	h := start(t, log, hub.Config{})
	r := newReader(t, h, hub.Request{Patterns: eventlogtest.Patterns(t, ">"), Since: event.Since{Last: true}})
	defer r.Close()
	first := r.read() // one piece
	for _, topic := range []string{"t.0", "t.2999", "t.0", "new"} {
		log.Publish(t, topic, "")
	}
	all := append(first, r.readN(3000-1+4-len(first))...) // t.2999 was published again before its newest event was read
	seen := map[uint64]bool{}
	for _, e := range all {
		if seq := e.Event.ID().Seq(); seen[seq] {
			t.Errorf("event %d came twice", seq)
		} else {
			seen[seq] = true
		}
	}
	for seq := uint64(1); seq <= 3004; seq++ {
		if !seen[seq] && seq != 3000 {
			t.Errorf("event %d did not come", seq)
		}
	}
	if rest, err := r.Next(nil); len(rest) > 0 || err != nil {
		t.Errorf("%d more, %v", len(rest), err)
	}
}
