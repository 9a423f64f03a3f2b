package handlers

import (
	"log/slog"

	"github.com/gin-gonic/gin"
)

// accessLog is the record of the request in the access log. Middleware stores it in the gin.Context as "access_log".
type accessLog interface {
	// Add adds attributes to the record.
	Add(attrs ...slog.Attr)
	// Detach makes finish write the record. Finish is called once, when the stream ends, which is after its handler has
	// returned. Its attributes replace those of Add.
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
