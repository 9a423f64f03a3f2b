package handlers

import (
	"log/slog"

	"github.com/gin-gonic/gin"
)

// accessLog is the request's record in the access log. Middleware that writes one puts it under the gin.Context's key "access_log".
type accessLog interface {
	// Add adds attributes to the record.
	Add(attrs ...slog.Attr)
	// Detach leaves the record to finish, which is called once when the stream ends, after its handler has returned. The
	// attributes of finish replace those of Add.
	Detach() (finish func(bytes int, attrs ...slog.Attr))
}

func accessLogOf(c *gin.Context) accessLog {
	if value, _ := c.Get("access_log"); value != nil {
		if log, ok := value.(accessLog); ok {
			return log
		}
	}
	return noAccessLog{}
}

// noAccessLog is for an application without such middleware.
type noAccessLog struct{}

func (noAccessLog) Add(...slog.Attr)                {}
func (noAccessLog) Detach() func(int, ...slog.Attr) { return func(int, ...slog.Attr) {} }
