package middleware

import "github.com/gin-gonic/gin"

// Secure sets the headers that no answer should be without. What is no page loads nothing and stands in no frame; the page handler
// sets its own Content-Security-Policy.
func Secure() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("X-Content-Type-Options", "nosniff")
		c.Header("Referrer-Policy", "no-referrer")
		c.Header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	}
}
