package handlers

import (
	"errors"
	"net/http"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"

	"github.com/gin-gonic/gin"
)

var (
	errBusy     = errors.New("all connections are taken")
	errDraining = errors.New("the server is closing")
	errNotReady = errors.New("the server is not ready")
	errRequest  = errors.New("the request is malformed")
	errNotFound = errors.New("nothing is served here")
	errMethod   = errors.New("the method is not allowed here")
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
	{errRequest, http.StatusBadRequest, "malformed", ""},
	{errNotFound, http.StatusNotFound, "not_found", "nothing is served here; the event stream is at /event"},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "the header Allow names the methods that are served here"},
	{eventlog.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "the event is larger than the log takes"},
	{eventlog.ErrFull, http.StatusInsufficientStorage, "log_full", "the log cannot store the event: make room on its disk, restart the server, and send the event again"},
	{eventlog.ErrUnavailable, http.StatusServiceUnavailable, "log_unavailable", "the log does not answer: the event may or may not be stored; send it again with the same Idempotency-Key"},
	{errBusy, http.StatusServiceUnavailable, "busy", "all connections are taken; come back later, or raise --max-connections"},
	{errDraining, http.StatusServiceUnavailable, "draining", "the server is closing; come back in a moment"},
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
		return http.StatusBadRequest, problem{"invalid_" + invalid.Field, invalid.Error()}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge, problem{"too_large", "the body is larger than --max-body allows; send less at once"}
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			if row.message == "" {
				return row.status, problem{row.code, err.Error()}
			}
			return row.status, problem{row.code, row.message}
		}
	}
	return http.StatusInternalServerError, problem{"internal", "something went wrong here; the request ID names it in the log"}
}

// fail answers a request that has not been answered yet with the error.
func fail(c *gin.Context, err error) {
	status, p := problemOf(err)
	switch status {
	case http.StatusUnauthorized:
		c.Header("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		c.Header("Retry-After", "5")
	}
	_ = c.Error(err) // for the request log
	c.Abort()
	c.PureJSON(status, problemBody{p})
}

// NoRoute answers requests that no route takes; give it to gin.Engine.NoRoute.
func (h *Handlers) NoRoute(c *gin.Context) { fail(c, errNotFound) }

// NoMethod answers requests whose method no route takes; give it to gin.Engine.NoMethod.
func (h *Handlers) NoMethod(c *gin.Context) { fail(c, errMethod) }
