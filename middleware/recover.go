package middleware

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"
)

// Recover logs a handler's panic with its stack. If nothing was written yet, the answer is a 500. Otherwise the connection is cut:
// a clean end, or an error inside an open stream, would pass for the handler's own words.
func Recover(logger *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler) // the handler cuts the connection on purpose
			}
			logger.LogAttrs(c.Request.Context(), slog.LevelError, "handler panicked", slog.String(requestIDKey, RequestIDFrom(c)),
				slog.String("panic", clean(fmt.Sprint(cause))), slog.String("stack", string(debug.Stack())))
			_ = c.Error(fmt.Errorf("panic: %v", cause))
			if c.Writer.Written() {
				panic(http.ErrAbortHandler)
			}
			// They describe the body that did not come.
			for _, name := range []string{"Cache-Control", "Content-Encoding", "Content-Length", "Etag", "Last-Modified"} {
				c.Writer.Header().Del(name)
			}
			refuse(c, http.StatusInternalServerError, "internal", "something went wrong here; the request id names it in the log")
		}()
		c.Next()
	}
}
