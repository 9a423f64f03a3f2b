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
	errAddressPages = errors.New("too many pages of history at once for this address")
	errPages        = errors.New("there is no memory for a page of history")
	errRate         = errors.New("too many events a second")
	errBulk         = errors.New("too many events at once")
	errNotReady     = errors.New("the server is not ready")
	errNotWritable  = errors.New("the log cannot be written")
	errRequest      = errors.New("the request is malformed")
	errEventFormat  = errors.New("the event format is not known")
	errSlow         = errors.New("the body did not arrive in time")
	errLines        = errors.New("the lines did not arrive in time")
	errRevocations  = errors.New("the revocation cannot be stored")
	// errUnknownParameter is followed by the parameter and what is known.
	errUnknownParameter = errors.New("unknown parameter")
	errNotFound         = errors.New("there is nothing at this URL")
	errNoConnection     = errors.New("there is no such connection")
	// errNoNode is followed by the name and what to do.
	errNoNode = errors.New("no running node has the name or ID")
	// errUncertain is eventlog.ErrUnavailable in the response to a publisher.
	errUncertain = errors.New("the event may or may not be stored")
	errMethod    = errors.New("this method is not allowed here")
	// errBackupRunning: one at a time, because each reads the whole log.
	errBackupRunning = errors.New("another backup is in progress")
)

// table maps errors to responses. An empty message means the error's own text, which is written for the client.
var table = []struct {
	err     error
	status  int
	code    string
	message string
}{
	{auth.ErrUnauthenticated, http.StatusUnauthorized, "unauthorized", ""},
	{auth.ErrForbidden, http.StatusForbidden, "forbidden", ""},
	{auth.ErrUnavailable, http.StatusServiceUnavailable, "auth_unavailable", "the server cannot check tokens yet; try again in a few seconds"},
	{ticket.ErrTooMany, http.StatusTooManyRequests, "too_many_tickets", ""},
	{ticket.ErrNoID, http.StatusNotFound, "no_ticket", "this is not the ID of a ticket: use the id that POST /ticket returned with it"},
	{errRevocations, http.StatusInsufficientStorage, "tickets_full", "the revocation is not stored, because the log's disk is full or the last 24 hours had 100,000 revocations; free space, or try again later"},
	{errNoConnection, http.StatusNotFound, "no_connection", "the node has no open connection with this ID; GET /connections lists the open ones, with ?node= those of another node"},
	{errNoNode, http.StatusNotFound, "no_node", ""},
	{eventlog.ErrNodeAway, http.StatusGatewayTimeout, "node_unreachable", "the node does not answer: it has just stopped or hangs, or one of the two nodes cannot reach NATS; choose another one, or try again in a moment"},
	{errBackupRunning, http.StatusConflict, "backup_running", "another backup of this node is in progress; try again when it has ended"},
	{eventlog.ErrOldNATS, http.StatusNotImplemented, "nats_too_old", ""},
	{errRequest, http.StatusBadRequest, "malformed", ""},
	{errEventFormat, http.StatusUnsupportedMediaType, "unsupported_format", "this format of CloudEvents is not supported; send application/cloudevents+json, application/cloudevents-batch+json, or the attributes as headers"},
	{errUnknownParameter, http.StatusBadRequest, "unknown_parameter", ""},
	{errSlow, http.StatusRequestTimeout, "timeout", "the body did not arrive within 30 s; send smaller requests"},
	{errLines, http.StatusRequestTimeout, "timeout", "no line arrived for five minutes, or the request took an hour; continue in another request with the same Idempotency-Key"},
	{errNotFound, http.StatusNotFound, "not_found", "there is nothing at this URL; the event stream is at /event or /event/{topic}, without a slash at the end or in the topic"},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", ""},
	{eventlog.ErrRefused, http.StatusServiceUnavailable, "nats_refused", "NATS refuses this server's credentials, so the log cannot be used; check --nats and --nats-creds"},
	{errUncertain, http.StatusServiceUnavailable, "log_unavailable", "the log does not respond, so the event may or may not be stored; send it again with the same Idempotency-Key"},
	{eventlog.ErrEnded, http.StatusConflict, "ended", "the topic has ended; publish to another one, or delete its events with DELETE /event/{topic}, which opens it again"},
	{eventlog.ErrNoTTL, http.StatusNotImplemented, "no_ttl", "the stream of NATS does not allow events with a ttl; start one node with --update-stream, or publish without ttl"},
	{eventlog.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "the event is larger than the log accepts; send a smaller one"},
	{eventlog.ErrFull, http.StatusInsufficientStorage, "log_full", "the log cannot store the event; free space on its disk and send the event again; the server needs no restart"},
	{eventlog.ErrUnavailable, http.StatusServiceUnavailable, "log_unavailable", "the log does not respond; try again in a moment"},
	{eventlog.ErrRenewed, http.StatusServiceUnavailable, "log_unavailable", "the log was replaced by a new one, so this server has to restart; try again in a moment"},
	{stream.ErrFull, http.StatusServiceUnavailable, "full", "all connections are in use; try again later, or raise --max-connections"},
	{stream.ErrAddressFull, http.StatusTooManyRequests, "too_many_connections", "all connections of your address are in use; close some, or raise --max-connections-per-address; if clients share a proxy's address, set --trusted-proxy"},
	{errAddressPages, http.StatusTooManyRequests, "too_many_pages", "your address has too many history requests open; read their responses first, then try again"},
	{errPages, http.StatusServiceUnavailable, "busy", "slow clients hold all the memory for history and replays; try again in a moment"},
	{errRate, http.StatusTooManyRequests, "rate_limited", "you publish too fast, so nothing of this request was stored; send it again after Retry-After seconds, or raise --publish-rate"},
	{errBulk, http.StatusRequestEntityTooLarge, "too_many_events", ""},
	{stream.ErrDraining, http.StatusServiceUnavailable, "draining", "the server is shutting down; try again in a moment"},
	{errNotReady, http.StatusServiceUnavailable, "not_ready", "the server is not ready because its event log does not respond: with --nats, NATS is away or has no leader; see the server's log"},
	{errNotWritable, http.StatusServiceUnavailable, "not_ready", "the server is not ready because its event log cannot be written, for example because its disk is full; see the server's log"},
}

// problem is an error as the client sees it.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type problemBody struct {
	Error problem `json:"error"`
}

// problemOf looks the error up. An error that is not in the table shows the client nothing of its text.
func problemOf(err error) (status int, p problem) {
	var invalid *event.InvalidError
	if errors.As(err, &invalid) {
		field := strings.ReplaceAll(strings.ToLower(invalid.Field), "-", "_")
		return http.StatusBadRequest, problem{"invalid_" + field, invalid.Error()}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge, problem{"too_large", fmt.Sprintf("the body is larger than %d bytes; send smaller requests, or raise --max-body", tooLarge.Limit)}
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			if row.message == "" {
				return row.status, problem{row.code, err.Error()}
			}
			return row.status, problem{row.code, row.message}
		}
	}
	return http.StatusInternalServerError, problem{"internal", "the server has failed; look for the request ID in its log"}
}

// statusGone is for the request log alone: the client left before the response (nginx's 499).
const statusGone = 499

// orFail makes a handler of a function that returns an error instead of sending a response.
func orFail(serve func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := serve(c); err != nil {
			fail(c, err)
		}
	}
}

// fail sends the error as the response.
func fail(c *gin.Context, err error) {
	// The client has left. A slow body ends the context too, but there the client still waits.
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
	countError(c, p.Code)
	c.Abort()
	c.PureJSON(status, problemBody{p})
}

// closeIfDraining closes the connection if the request is refused because the server is shutting down, so that the
// client's next connection reaches another server. HTTP/2 sends a GOAWAY, and open streams stay.
func closeIfDraining(c *gin.Context, err error) {
	if errors.Is(err, stream.ErrDraining) {
		c.Header("Connection", "close")
	}
}

// retryAfter is how many seconds a refused client should wait.
func retryAfter(err error) int {
	var limited *rateError
	if errors.As(err, &limited) {
		return max(1, int(math.Ceil(limited.wait.Seconds())))
	}
	if errors.Is(err, eventlog.ErrUnavailable) {
		return 1 // a NATS cluster elects a leader within seconds
	}
	return 5
}

// NoRoute responds to requests without a route; pass it to gin.Engine.NoRoute.
func (h *Handlers) NoRoute(c *gin.Context) { fail(c, errNotFound) }

// NoMethod responds to requests whose method has no route; pass it to gin.Engine.NoMethod.
func (h *Handlers) NoMethod(c *gin.Context) {
	fail(c, fmt.Errorf("%w: use %s", errMethod, c.Writer.Header().Get("Allow")))
}
