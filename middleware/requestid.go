package middleware

import (
	"crypto/rand"
	"strings"

	"github.com/gin-gonic/gin"
)

const (
	requestIDHeader = "X-Request-ID"
	requestIDKey    = "request_id"
)

// RequestID gives each request an ID and returns it in X-Request-ID. It uses the X-Request-ID of the request if that is 1–64 characters
// of [A-Za-z0-9._-]. Other characters could forge lines of a log.
func RequestID() gin.HandlerFunc {
	return func(c *gin.Context) {
		id := c.GetHeader(requestIDHeader)
		if id == "" || len(id) > 64 || strings.ContainsFunc(id, notInID) {
			id = strings.ToLower(rand.Text())[:16]
		}
		c.Set(requestIDKey, id)
		c.Header(requestIDHeader, id)
	}
}

// RequestIDFrom returns the ID of the request, or nothing if RequestID did not run.
func RequestIDFrom(c *gin.Context) string {
	return c.GetString(requestIDKey)
}

func notInID(r rune) bool {
	switch {
	case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		return false
	}
	return true
}
