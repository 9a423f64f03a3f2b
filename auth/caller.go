package auth

import (
	"fmt"
	"slices"
	"time"

	"freshet/event"
)

// Caller is whoever sent a request. It is as small as a pointer; two are equal if they came of one authentication.
type Caller struct {
	*identity
}

// identity does not change once made. A nil one reads everything.
type identity struct {
	subject  string // empty: anonymous
	operator bool
	publish  event.Patterns
	read     event.Patterns // with what anybody may read; none covers another
	expires  time.Time
	why      error // of an anonymous caller, whose token was bad; else nil
}

// MayPublish is nil if the caller may publish to the topic; without a topic, if there is any that the caller may publish to.
func (c Caller) MayPublish(topic string) error {
	switch {
	case c.Subject() == "" && c.identity != nil && c.why != nil: // anonymous, but by a token that is bad
		return c.why
	case c.Subject() == "":
		return fmt.Errorf(`%w: to publish, send "Authorization: Bearer <publish token>"`, ErrUnauthenticated)
	case c.operator:
		return nil
	case len(c.publish) == 0:
		return fmt.Errorf("%w: the token does not let its owner publish", ErrForbidden)
	case topic == "":
		return nil
	}
	if t, err := event.ParseTopic(topic); err != nil || !c.publish.Match(t) {
		return fmt.Errorf("%w: the token does not let its owner publish to topic %q", ErrForbidden, topic)
	}
	return nil
}

// MayRead is nil if the caller may read all that the pattern selects. The patterns of what is readable are looked at one by one: that
// two of them together cover it does not count. The server's own topics, asked for by name, are for whoever may read anything.
func (c Caller) MayRead(pattern event.Pattern) error {
	readable, name := c.Readable(), pattern.String()
	switch {
	case slices.ContainsFunc(readable, func(p event.Pattern) bool { return p.Covers(pattern) }):
		return nil
	case len(readable) > 0 && (name == event.TopicCounter.String() || name == event.TopicStats.String()):
		return nil
	case c.Subject() != "":
		return fmt.Errorf("%w: the token does not let its owner read topic %q", ErrForbidden, name)
	}
	return c.needsToken(fmt.Sprintf("topic %q", name))
}

// MayReadAnything is nil if there is a topic that the caller may read.
func (c Caller) MayReadAnything() error {
	switch {
	case len(c.Readable()) > 0:
		return nil
	case c.Subject() != "":
		return fmt.Errorf("%w: the token does not let its owner read any topic", ErrForbidden)
	}
	return c.needsToken("here")
}

// needsToken is for an anonymous caller.
func (c Caller) needsToken(what string) error {
	if c.identity != nil && c.why != nil {
		return c.why
	}
	return fmt.Errorf(`%w: to read %s, send "Authorization: Bearer <token>"`, ErrUnauthenticated, what)
}

// Readable is all that the caller may read: what the token says and what anybody may, so that no pattern covers another. It belongs
// to the Caller.
func (c Caller) Readable() event.Patterns {
	if c.identity == nil {
		return event.Patterns{event.All}
	}
	return c.read
}

// Expires is when the caller's token ends, the zero time if it never does.
func (c Caller) Expires() time.Time {
	if c.identity == nil {
		return time.Time{}
	}
	return c.expires
}

// Subject names whoever the token was made for, the same on every node and with every token of one issuer and subject; a token without
// a subject is one of its own. It is short, printable and tells nothing of the token; empty for anonymous callers.
func (c Caller) Subject() string {
	if c.identity == nil {
		return ""
	}
	return c.subject
}

// Operator says that the caller has the publish token, and may do everything.
func (c Caller) Operator() bool { return c.identity != nil && c.operator }

// widest returns the patterns without those that another one covers.
func widest(patterns event.Patterns) event.Patterns {
	var kept event.Patterns
	for i, p := range patterns {
		covered := false
		for j, q := range patterns {
			covered = covered || q.Covers(p) && (!p.Covers(q) || j < i)
		}
		if !covered {
			kept = append(kept, p)
		}
	}
	return kept
}
