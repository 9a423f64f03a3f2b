package middleware

import (
	"crypto/rand"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"
)

const (
	requestIDHeader = "X-Request-ID"
	requestIDKey    = "request_id"
)

var validID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`) // other characters could forge lines of a log

// RequestID gives each request an ID and returns it in X-Request-ID. It uses the X-Request-ID of the request if that is valid.
func RequestID() gin.HandlerFunc {
	return func(c *gin.Context) {
		id := c.GetHeader(requestIDHeader)
		if !validID.MatchString(id) {
			id = strings.ToLower(rand.Text())[:16]
		}
		c.Set(requestIDKey, id)
		c.Header(requestIDHeader, id)
	}
}

// RequestIDFrom returns the ID of the request, or nothing if RequestID did not run.
func RequestIDFrom(c *gin.Context) string { return c.GetString(requestIDKey) }
