package handlers_test

import (
	"log/slog"

	"github.com/gin-gonic/gin"
)

// endings is middleware that reports why streams ended.
func endings(reasons chan<- string) gin.HandlerFunc {
	return func(c *gin.Context) { c.Set("access_log", &endingLog{reasons}) }
}

type endingLog struct{ reasons chan<- string }

func (l *endingLog) Add(attrs ...slog.Attr) {
	for _, attr := range attrs {
		if attr.Key == "reason" {
			l.reasons <- attr.Value.String()
		}
	}
}

func (l *endingLog) Detach() func(int, ...slog.Attr) {
	return func(_ int, attrs ...slog.Attr) { l.Add(attrs...) }
}
