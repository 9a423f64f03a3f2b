package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"

	"github.com/gin-gonic/gin"
)

// maxTicketBody is the bytes of a body that asks for a ticket.
const maxTicketBody = 32 << 10

// ticketAnswer is how a ticket is shown to its owner. Only its issue shows the ticket itself.
type ticketAnswer struct {
	Ticket  string     `json:"ticket,omitempty"`
	ID      string     `json:"id"`
	Topics  []string   `json:"topics"`
	Origin  string     `json:"origin"`
	Expires *time.Time `json:"expires,omitempty"` // with the token, if that expires
	URL     string     `json:"url,omitempty"`     // to open an EventSource on, as the server sees it
}

func answerOf(t auth.Ticket) ticketAnswer {
	a := ticketAnswer{ID: t.ID, Topics: []string{}, Origin: t.Origin}
	for _, p := range t.Topics {
		a.Topics = append(a.Topics, p.String())
	}
	if !t.Expires.IsZero() {
		expires := t.Expires.UTC().Truncate(time.Millisecond)
		a.Expires = &expires
	}
	return a
}

func sendTicket(c *gin.Context, status int, a ticketAnswer) {
	c.Header("Cache-Control", "no-store")
	c.PureJSON(status, a)
}

// issueTicket serves POST /ticket: some of the rights of the caller's token, for pages of one
// origin.
func (h *Handlers) issueTicket(c *gin.Context) {
	caller, err := ticketCaller(c)
	if err != nil {
		fail(c, err)
		return
	}
	ticket := auth.Ticket{Subject: caller.Subject(), Expires: caller.Expires()}
	if ticket.Topics, ticket.Origin, err = h.parseTicket(c, caller); err != nil {
		fail(c, err)
		return
	}
	secret, ticket, err := h.cfg.Tickets.Issue(c.Request.Context(), ticket, !caller.Operator())
	if errors.Is(err, eventlog.ErrFull) {
		err = fmt.Errorf("%w: %w", errTickets, err)
	}
	if err != nil {
		fail(c, err)
		return
	}
	a := answerOf(ticket)
	a.Ticket, a.URL = secret, strings.TrimSuffix(c.FullPath(), "/ticket")+"/event?ticket="+secret
	sendTicket(c, http.StatusCreated, a)
}

// ticketCaller is the caller, who has to be known.
func ticketCaller(c *gin.Context) (auth.Caller, error) {
	caller := auth.FromContext(c.Request.Context())
	if caller.Subject() == "" {
		return caller, fmt.Errorf(`%w: for tickets, send "Authorization: Bearer <token>"`, auth.ErrUnauthenticated)
	}
	return caller, nil
}

// parseTicket reads {"topics","origin"}: by default all that the caller may read, and the
// origin of the page that asks. A back end asks for a page, and has to say for which.
func (h *Handlers) parseTicket(c *gin.Context, caller auth.Caller) (topics event.Patterns, origin string, err error) {
	var in struct {
		Topics []string `json:"topics"`
		Origin string   `json:"origin"`
	}
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // where there is none, the transport has its own
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxTicketBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if !errors.As(err, &tooLarge) {
			err = fmt.Errorf("%w: the body did not arrive whole", errRequest)
		}
		return nil, "", err
	}
	_ = control.SetReadDeadline(time.Time{})
	if len(bytes.TrimSpace(body)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil || decoder.More() {
			return nil, "", fmt.Errorf(`%w: expected one JSON object {"topics":["orders.*"],"origin":"https://app.example"}, or no body`, errRequest)
		}
	}
	if most := h.cfg.MaxTopics; most > 0 && len(in.Topics) > most {
		return nil, "", &event.InvalidError{Field: "topics", Reason: "are too many; name patterns like orders.* instead"}
	}
	for _, text := range in.Topics {
		p, err := event.ParsePattern(text)
		if err == nil {
			err = caller.MayRead(p)
		}
		if err != nil {
			return nil, "", err
		}
		topics = append(topics, p)
	}
	if in.Topics == nil {
		topics = caller.Readable()
	}
	if len(topics) == 0 {
		return nil, "", &event.InvalidError{Field: "topics", Reason: "must not be empty"}
	}
	page := c.GetHeader("Origin")
	if in.Origin == "" {
		if page == "" || page == "null" {
			return nil, "", &event.InvalidError{Field: "origin", Reason: `is missing: name that of the page, as {"origin":"https://app.example"}`}
		}
		in.Origin = page
	}
	if origin, err = auth.ParseOrigin(in.Origin); err != nil {
		return nil, "", err
	}
	if page != "" && page != "null" && page != origin {
		return nil, "", &event.InvalidError{Field: "origin", Reason: "must be that of the page that asks"}
	}
	return topics, origin, nil
}

// owned returns the ticket of the route's ID, if the caller is its owner or an operator.
func (h *Handlers) owned(c *gin.Context) (ticket auth.Ticket, caller auth.Caller, err error) {
	if caller, err = ticketCaller(c); err != nil {
		return ticket, caller, err
	}
	ticket, ok, err := h.cfg.Tickets.Get(c.Request.Context(), c.Param("id"))
	switch {
	case err != nil:
		return ticket, caller, err
	case !ok:
		return ticket, caller, errNoTicket
	case !caller.Operator() && ticket.Subject != caller.Subject():
		return ticket, caller, fmt.Errorf("%w: the ticket is another subject's", auth.ErrForbidden)
	}
	return ticket, caller, nil
}

// extendTicket serves POST /ticket/{id}: the ticket, and what it has opened on any node, lasts
// as long as the token that the caller has now.
func (h *Handlers) extendTicket(c *gin.Context) {
	ticket, caller, err := h.owned(c)
	for _, p := range ticket.Topics {
		if err == nil {
			err = caller.MayRead(p) // the new token may read less
		}
	}
	if err == nil {
		var ok bool
		if ticket, ok, err = h.cfg.Tickets.Extend(c.Request.Context(), ticket.ID, caller.Expires()); err == nil && !ok {
			err = errNoTicket
		}
	}
	if err != nil {
		fail(c, err)
		return
	}
	sendTicket(c, http.StatusOK, answerOf(ticket))
}

// revokeTicket serves DELETE /ticket/{id}: what it has opened ends at once, on every node.
// One that is not there is as good as revoked.
func (h *Handlers) revokeTicket(c *gin.Context) {
	ticket, _, err := h.owned(c)
	if err == nil {
		err = h.cfg.Tickets.Revoke(c.Request.Context(), ticket.ID)
	}
	if err != nil && !errors.Is(err, errNoTicket) {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// redeem has the request be the caller's whose ticket it brings, if it brings one. Whoever
// gets the use, which may be nil, closes it. A ticket is above a cookie, which a browser sends
// unasked; beside a bearer token it would be unclear what is meant.
func (h *Handlers) redeem(c *gin.Context) (*auth.Use, error) {
	secrets, brought := c.GetQueryArray("ticket")
	if !brought || h.cfg.Tickets == nil {
		return nil, nil //nolint:nilnil // no ticket is no error
	}
	r := c.Request
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); len(secrets) > 1 || strings.EqualFold(scheme, "Bearer") {
		return nil, fmt.Errorf("%w: send one ticket, or a bearer token, and not both", errRequest)
	}
	use, err := h.cfg.Tickets.Redeem(r.Context(), secrets[0], auth.Origin{
		Header: r.Header.Get("Origin"), Site: r.Header.Get("Sec-Fetch-Site"), Host: r.Host,
	})
	if err != nil {
		return nil, err
	}
	c.Request = r.WithContext(auth.NewContext(r.Context(), use.Ticket().Caller()))
	return use, nil
}

// turnAway refuses a stream whose ticket is not redeemed. If that is the store's fault, a
// browser is to come back.
func (h *Handlers) turnAway(c *gin.Context, err error) {
	if errors.Is(err, eventlog.ErrUnavailable) {
		h.refuse(c, err)
		return
	}
	fail(c, err)
}
