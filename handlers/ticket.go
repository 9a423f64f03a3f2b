package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
)

// maxTicketBody is the bytes of a body that asks for a ticket.
const maxTicketBody = 32 << 10

// ticketResponse is the body of a response to POST /ticket.
type ticketResponse struct {
	Ticket  string    `json:"ticket"`
	ID      string    `json:"id"`
	Subject string    `json:"subject"` // for DELETE /ticket?subject=
	Topics  []string  `json:"topics"`
	Publish []string  `json:"publish,omitempty"`
	Origin  string    `json:"origin"`
	Expires time.Time `json:"expires"`
	URL     string    `json:"url"` // for an EventSource, relative to this server
}

// issueTicket serves POST /ticket: a ticket with some of the rights of the caller's token, for pages of one origin.
func (h *Handlers) issueTicket(c *gin.Context) error {
	caller, err := tokenCaller(c)
	var request ticket.Request
	if err == nil {
		request, err = h.parseTicketRequest(c)
	}
	var token string
	var t ticket.Ticket
	if err == nil {
		token, t, err = h.cfg.Tickets.Issue(c.Request.Context(), caller, request)
	}
	if err != nil {
		return err
	}
	response := ticketResponse{
		Ticket: token, ID: t.ID, Subject: t.Subject, Topics: t.Topics.Strings(), Publish: t.Publish.Strings(), Origin: t.Origin, Expires: t.Expires.UTC(),
		URL: strings.TrimSuffix(c.FullPath(), "/ticket") + "/event?ticket=" + token,
	}
	c.Header("Cache-Control", "no-store")
	c.PureJSON(http.StatusCreated, response)
	return nil
}

// tokenCaller returns the caller, who must have a token.
func tokenCaller(c *gin.Context) (auth.Caller, error) {
	caller := auth.FromContext(c.Request.Context())
	return caller, caller.MayHaveTickets()
}

// parseTicketRequest reads {"topics","publish","origin","lifetime"}. The origin defaults to that of the page that sends the request; a backend has
// to name the page's origin.
func (h *Handlers) parseTicketRequest(c *gin.Context) (r ticket.Request, err error) {
	var in struct {
		Topics   []string `json:"topics"`
		Publish  []string `json:"publish"`
		Origin   string   `json:"origin"`
		Lifetime string   `json:"lifetime"`
	}
	body, err := readBody(c, maxTicketBody)
	if err != nil {
		return r, err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil || decoder.More() {
			return r, fmt.Errorf(`%w: expected one JSON object {"topics":["orders.*"],"origin":"https://app.example","lifetime":"1h"}, or no body`, errRequest)
		}
	}
	if most := h.cfg.MaxTopics; most > 0 && len(in.Topics)+len(in.Publish) > most {
		return r, &event.InvalidError{Field: "topics", Reason: fmt.Sprintf("may have at most %d topics; use patterns like orders.* instead", most)}
	}
	if in.Topics != nil {
		r.Topics = event.Patterns{}
	}
	topics, err := event.ParsePatterns(in.Topics)
	if err == nil {
		r.Topics = append(r.Topics, topics...)
		r.Publish, err = event.ParsePatterns(in.Publish)
	}
	if err != nil {
		return r, err
	}
	if in.Lifetime != "" {
		if r.Lifetime, err = event.ParseDuration(in.Lifetime); err != nil || r.Lifetime == 0 {
			r.Lifetime = -1 // Issue explains what is allowed
		}
	}
	page := c.GetHeader("Origin")
	if page == "null" {
		page = ""
	}
	if in.Origin == "" && page == "" {
		return r, &event.InvalidError{Field: "origin", Reason: `is missing: name the page's origin, as in {"origin":"https://app.example"}`}
	}
	if in.Origin == "" {
		in.Origin = page
	}
	if r.Origin, err = auth.ParseOrigin(in.Origin); err == nil && page != "" && page != r.Origin {
		err = &event.InvalidError{Field: "origin", Reason: "must be the origin of the page that sends the request"}
	}
	return r, err
}

// revokeTicket serves DELETE /ticket/{id}.
func (h *Handlers) revokeTicket(c *gin.Context) error {
	caller, err := tokenCaller(c)
	if err == nil {
		err = h.cfg.Tickets.Revoke(c.Request.Context(), caller, c.Param("id"))
	}
	return sendRevoked(c, err)
}

// revokeTickets serves DELETE /ticket?subject=.
func (h *Handlers) revokeTickets(c *gin.Context) error {
	caller, err := tokenCaller(c)
	if err == nil {
		err = h.cfg.Tickets.RevokeSubject(c.Request.Context(), caller, c.Query("subject"))
	}
	return sendRevoked(c, err)
}

func sendRevoked(c *gin.Context, err error) error {
	if errors.Is(err, eventlog.ErrFull) {
		err = fmt.Errorf("%w: %w", errRevocations, err)
	}
	if err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// authenticateTicket makes the ticket's caller the caller of the request, if the request has a ticket. A ticket takes precedence over a
// cookie, which browsers send unasked. Together with a bearer token it is an error.
func (h *Handlers) authenticateTicket(c *gin.Context) error {
	token, sent := c.GetQuery("ticket")
	if !sent || h.cfg.Tickets == nil {
		return nil
	}
	r := c.Request
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return fmt.Errorf("%w: send a ticket or a bearer token, not both", errRequest)
	}
	caller, err := h.cfg.Tickets.Verify(r.Context(), token, ticket.Origin{
		Header: r.Header.Get("Origin"), Site: r.Header.Get("Sec-Fetch-Site"), Host: r.Host,
	})
	if err == nil {
		c.Request = r.WithContext(auth.NewContext(r.Context(), caller))
	}
	return err
}
