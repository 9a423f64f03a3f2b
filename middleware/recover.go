package middleware

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"
)

// Recover logs a handler's panic with its stack. If nothing was written yet, it answers 500. Otherwise it cuts the connection, so that
// the client does not take the response for a complete one.
func Recover(logger *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler) // the handler wants to cut the connection
			}
			logger.LogAttrs(c.Request.Context(), slog.LevelError, "handler panicked", slog.String(requestIDKey, RequestIDFrom(c)),
				slog.String("panic", clean(fmt.Sprint(cause))), slog.String("stack", string(debug.Stack())))
			_ = c.Error(fmt.Errorf("panic: %v", cause))
			if c.Writer.Written() {
				panic(http.ErrAbortHandler)
			}
			// These headers describe the body that was not written.
			for _, name := range []string{"Cache-Control", "Content-Encoding", "Content-Length", "Etag", "Last-Modified"} {
				c.Writer.Header().Del(name)
			}
			refuse(c, http.StatusInternalServerError, "internal", "the server has failed; look for the request ID in its log")
		}()
		c.Next()
	}
}
