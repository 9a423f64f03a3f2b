package app

import (
	"context"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/ticket"
)

// Ticket says what a page may read and publish with a ticket: see docs/auth.md.
type Ticket struct {
	Topics   []string      // topics and patterns to read
	Publish  []string      // topics and patterns to publish to
	Origin   string        // of the page, such as https://app.example
	Subject  string        // the user, as in [auth.Grant]; see [App.RevokeTickets]; empty: anyone's page
	Lifetime time.Duration // 1s to 24h; 0: an hour
}

// IssueTicket returns a signed ticket: the parameter ticket of an event stream's URL, or the option ticket of the client module. Your code checks
// what the user may do. The error is an [*event.InvalidError], or it says that the log does not answer.
func (a *App) IssueTicket(ctx context.Context, t Ticket) (token string, err error) {
	request := ticket.Request{Lifetime: t.Lifetime, Topics: event.Patterns{}}
	if request.Origin, err = auth.ParseOrigin(t.Origin); err != nil {
		return "", err
	}
	topics, err := event.ParsePatterns(t.Topics)
	if err != nil {
		return "", err
	}
	request.Topics = append(request.Topics, topics...)
	if request.Publish, err = event.ParsePatterns(t.Publish); err != nil {
		return "", err
	}
	if !a.use() {
		return "", ErrClosed
	}
	defer a.using.Done()
	token, _, err = a.tickets.Issue(ctx, a.caller(t.Subject), request)
	return token, err
}

// RevokeTickets revokes all tickets of the subject, on every node, and ends the streams that were opened with them.
func (a *App) RevokeTickets(ctx context.Context, subject string) error {
	if !a.use() {
		return ErrClosed
	}
	defer a.using.Done()
	caller := a.caller(subject)
	return a.tickets.RevokeSubject(ctx, caller, caller.Subject())
}

// caller is the embedding program, on behalf of the subject.
func (a *App) caller(subject string) auth.Caller {
	everything := event.Patterns{event.All}
	return auth.NewCaller(auth.Grant{Subject: subject, Publish: everything, Subscribe: everything, Operator: true})
}
