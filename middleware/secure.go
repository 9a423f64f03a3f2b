package middleware

import "github.com/gin-gonic/gin"

// Secure sets security headers on every response. The Content-Security-Policy forbids everything; the handler of the page replaces it.
func Secure() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("X-Content-Type-Options", "nosniff")
		c.Header("Referrer-Policy", "no-referrer")
		c.Header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	}
}
