package handlers

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"
	"freshet/stream"
	"freshet/ticket"

	"github.com/gin-gonic/gin"
)

var (
	errPages        = errors.New("too many pages of history at once for this address")
	errHistory      = errors.New("too many pages of history at once")
	errRate         = errors.New("too many events a second")
	errBulk         = errors.New("too many events at once")
	errNotReady     = errors.New("the server is not ready")
	errRequest      = errors.New("the request is malformed")
	errSlow         = errors.New("the body did not arrive in time")
	errRevocations  = errors.New("the revocation cannot be stored")
	errNotFound     = errors.New("nothing is served here")
	errNoConnection = errors.New("there is no such connection")
	// errUncertain is eventlog.ErrUnavailable as a publisher has to hear it.
	errUncertain = errors.New("the log does not answer: the event may or may not be stored")
	errMethod    = errors.New("the method is not allowed here")
)

// table maps errors to answers. An empty message means the error's own text, which its
// maker wrote for the caller.
var table = []struct {
	err     error
	status  int
	code    string
	message string
}{
	{auth.ErrUnauthenticated, http.StatusUnauthorized, "unauthorized", ""},
	{auth.ErrForbidden, http.StatusForbidden, "forbidden", ""},
	{auth.ErrUnavailable, http.StatusServiceUnavailable, "auth_unavailable", "tokens cannot be checked at the moment; try again soon"},
	{ticket.ErrTooMany, http.StatusTooManyRequests, "too_many_tickets", ""},
	{ticket.ErrNoID, http.StatusNotFound, "no_ticket", "this is not the ID of a ticket: use the id that POST /ticket returned with it"},
	{errRevocations, http.StatusInsufficientStorage, "tickets_full", "the ticket is not revoked: the log's disk is full, or a hundred thousand revocations of the last 24 hours fill the store"},
	{errNoConnection, http.StatusNotFound, "no_connection", "no such connection is open on this node (any more)"},
	{errRequest, http.StatusBadRequest, "malformed", ""},
	{errSlow, http.StatusRequestTimeout, "timeout", "the body did not arrive whole within 30 s; send less at a time"},
	{errNotFound, http.StatusNotFound, "not_found", "nothing is served here: the event stream is at /event or /event/{topic}, without a slash at the end, and a topic has no slash"},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", ""},
	{errUncertain, http.StatusServiceUnavailable, "log_unavailable", "the log does not answer: the event may or may not be stored; send it again with the same Idempotency-Key"},
	{eventlog.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "the event is larger than the log takes"},
	{eventlog.ErrFull, http.StatusInsufficientStorage, "log_full", "the log cannot store the event: make room on its disk, and send the event again; no restart is needed"},
	{eventlog.ErrUnavailable, http.StatusServiceUnavailable, "log_unavailable", "the log does not answer; try again in a moment"},
	{eventlog.ErrRenewed, http.StatusServiceUnavailable, "log_unavailable", "the log was made anew; the server is about to follow it"},
	{stream.ErrFull, http.StatusServiceUnavailable, "busy", "all connections are taken; come back later, or raise --max-connections"},
	{stream.ErrAddressFull, http.StatusTooManyRequests, "too_many_connections", "all connections of your address are taken; close some, or raise --max-connections-per-address; if many share a proxy's address, name it with --trusted-proxy"},
	{errPages, http.StatusTooManyRequests, "too_many_pages", "other pages of history are on their way to your address; take them first, then ask again"},
	{errHistory, http.StatusServiceUnavailable, "busy", "too many pages of history are on their way to readers who are slow in taking them; come back in a moment"},
	{errRate, http.StatusTooManyRequests, "rate_limited", "you publish too fast, nothing of this request was stored; send it again after the seconds of Retry-After, or raise --publish-rate"},
	{errBulk, http.StatusRequestEntityTooLarge, "too_many_events", ""},
	{stream.ErrDraining, http.StatusServiceUnavailable, "draining", "the server is closing; come back in a moment"},
	{errNotReady, http.StatusServiceUnavailable, "not_ready", "the server is not ready: its log does not answer or cannot be written; the server's own log says why"},
}

// problem is an error as its caller sees it.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type problemBody struct {
	Error problem `json:"error"`
}

// problemOf looks the error up. One that is not ours tells the caller nothing.
func problemOf(err error) (status int, p problem) {
	var invalid *event.InvalidError
	if errors.As(err, &invalid) {
		field := strings.ReplaceAll(strings.ToLower(invalid.Field), "-", "_")
		return http.StatusBadRequest, problem{"invalid_" + field, invalid.Error()}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge, problem{"too_large", fmt.Sprintf("the body is larger than the %d bytes that are taken at once", tooLarge.Limit)}
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			if row.message == "" {
				return row.status, problem{row.code, err.Error()}
			}
			return row.status, problem{row.code, row.message}
		}
	}
	return http.StatusInternalServerError, problem{"internal", "something went wrong on the server; find the request ID in its log"}
}

// statusGone is for the log alone: the caller went away before the answer (nginx's 499).
const statusGone = 499

// fail answers a request that has not been answered yet with the error.
func fail(c *gin.Context, err error) {
	// Nobody is there to be answered. But a body that is slow ends the context, too.
	if c.Request.Context().Err() != nil && !errors.Is(err, errSlow) {
		c.Abort()
		c.Status(statusGone)
		return
	}
	status, p := problemOf(err)
	if challenge := auth.Challenge(err); challenge != "" {
		c.Header("WWW-Authenticate", challenge)
	}
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		c.Header("Retry-After", strconv.Itoa(retryAfter(err)))
	}
	_ = c.Error(err) // for the request log
	closeIfDraining(c, err)
	c.Abort()
	c.PureJSON(status, problemBody{p})
}

// closeIfDraining closes the connection of a client that is refused because the server is
// shutting down: the next one leads to another server. HTTP/2 sends a GOAWAY, and open
// streams stay.
func closeIfDraining(c *gin.Context, err error) {
	if errors.Is(err, stream.ErrDraining) {
		c.Header("Connection", "close")
	}
}

// retryAfter is the number of seconds after which a refused caller should come back.
func retryAfter(err error) int {
	var limited *rateError
	if errors.As(err, &limited) {
		return max(1, int(math.Ceil(limited.wait.Seconds())))
	}
	return 5
}

// NoRoute answers requests that no route takes; give it to gin.Engine.NoRoute.
func (h *Handlers) NoRoute(c *gin.Context) { fail(c, errNotFound) }

// NoMethod answers requests whose method no route takes; give it to gin.Engine.NoMethod.
func (h *Handlers) NoMethod(c *gin.Context) {
	fail(c, fmt.Errorf("%w: use %s", errMethod, c.Writer.Header().Get("Allow")))
}
