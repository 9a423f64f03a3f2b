package auth

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"freshet/event"
)

// Caller is the sender of a request. It is as small as a pointer; two are equal if they are from one authentication.
type Caller struct {
	*identity
}

const (
	// publishSubject is the subject of the publish token.
	publishSubject = "operator"
	// programSubject is the subject of the program that embeds the server, where it names no user.
	programSubject = "app"
)

// identity never changes.
type identity struct {
	subject  string // empty: anonymous
	operator bool
	publish  event.Patterns
	read     event.Patterns // what anyone may read included; none covers another
	expires  time.Time
	ticket   Ticket
	why      error // for an anonymous caller with a bad token, what is wrong with it
}

// reader is the identity of the zero Caller.
var reader = &identity{read: event.Patterns{event.All}}

func (c Caller) get() *identity { return cmp.Or(c.identity, reader) }

// Ticket identifies the ticket that a caller came with.
type Ticket struct {
	ID       string // empty: the caller came without a ticket
	Revision uint64 // of the store that has the revocations, when the ticket was issued
}

// TicketCaller returns a caller with a verified ticket: one that reads and publishes to these topics until the expiry.
func TicketCaller(subject string, read, publish event.Patterns, expires time.Time, ticket Ticket) Caller {
	return Caller{&identity{subject: subject, read: read.Widest(), publish: publish, expires: expires, ticket: ticket}}
}

// MayPublish is nil if the caller may publish to the topic, or, with an empty topic, to any topic at all.
func (c Caller) MayPublish(topic string) error {
	switch {
	case c.Subject() == "":
		return c.needsToken("publish", "publish token")
	case len(c.publish) == 0:
		return fmt.Errorf("%w: the token does not allow publishing", ErrForbidden)
	case topic == "":
		return nil
	}
	if t, err := event.ParseTopic(topic); err != nil || !c.publish.Match(t) {
		return fmt.Errorf("%w: the token does not allow publishing to topic %q", ErrForbidden, topic)
	}
	return nil
}

// MayPublishAll is nil if the caller may publish to every topic that the pattern selects. One of its patterns has to cover it alone.
func (c Caller) MayPublishAll(pattern event.Pattern) error {
	if err := c.MayPublish(""); err != nil {
		return err
	}
	if !slices.ContainsFunc(c.publish, func(p event.Pattern) bool { return p.Covers(pattern) }) {
		return fmt.Errorf("%w: the token does not allow publishing to topic %q", ErrForbidden, pattern)
	}
	return nil
}

// MayRead is nil if the caller may read every topic that the pattern selects. One readable pattern has to cover it alone; two that cover it
// together do not count. A caller who may read anything, and an operator, may read the server's own topics by name.
func (c Caller) MayRead(pattern event.Pattern) error {
	readable, name := c.Readable(), pattern.String()
	switch {
	case slices.ContainsFunc(readable, func(p event.Pattern) bool { return p.Covers(pattern) }):
		return nil
	case c.MayReadAnything() == nil && (name == event.TopicCounter.String() || name == event.TopicStats.String()):
		return nil
	case c.Subject() != "":
		return fmt.Errorf("%w: the token does not allow reading topic %q", ErrForbidden, name)
	}
	return c.needsToken(fmt.Sprintf("read topic %q", name), "token")
}

// MayReadAnything is nil if there is a topic that the caller may read. An operator may always read the server's own topics.
func (c Caller) MayReadAnything() error {
	switch {
	case len(c.Readable()) > 0 || c.get().operator:
		return nil
	case c.Subject() != "":
		return fmt.Errorf("%w: the token does not allow reading any topic", ErrForbidden)
	}
	return c.needsToken("read here", "token")
}

// MayOperate is nil if the caller is an operator, who may see and end connections, revoke every ticket and take backups: the publish token and a JSON
// web token with the claim freshet.operator allow it, a ticket never does.
func (c Caller) MayOperate() error {
	switch {
	case c.get().operator:
		return nil
	case c.Subject() != "":
		return fmt.Errorf(`%w: only an operator may do this: use the publish token, or a JSON web token with the claim "freshet": {"operator": true}`, ErrForbidden)
	}
	return c.needsToken("operate the server", `publish token, or JSON web token with the claim freshet.operator`)
}

// MayHaveTickets is nil if the caller has a subject: each ticket belongs to one. What the ticket allows is checked when it is issued.
func (c Caller) MayHaveTickets() error {
	if c.Subject() != "" {
		return nil
	}
	return c.needsToken("create or revoke tickets", "token")
}

// needsToken is the error for an anonymous caller.
func (c Caller) needsToken(action, token string) error {
	if why := c.get().why; why != nil {
		return why
	}
	return fmt.Errorf(`%w: to %s, send "Authorization: Bearer <%s>"`, ErrUnauthenticated, action, token)
}

// Readable is all that the caller may read, what anyone may read included. No pattern covers another. Do not change it.
func (c Caller) Readable() event.Patterns { return c.get().read }

// Expires is when the caller's token or ticket expires; zero: never.
func (c Caller) Expires() time.Time { return c.get().expires }

// Subject identifies the owner of the token, on every node and in every token of one issuer and subject; a token without a subject has its
// own. It is short and printable, and reveals nothing of the token. It is empty for anonymous callers.
func (c Caller) Subject() string { return c.get().subject }

// Shared reports whether many clients can have this subject: those with the publish token, with a ticket that names no user, and without a
// token.
func (c Caller) Shared() bool {
	return c.Subject() == "" || c.Subject() == publishSubject || c.Subject() == programSubject
}

// Ticket returns the ticket that the caller came with; the zero Ticket if none.
func (c Caller) Ticket() Ticket { return c.get().ticket }
