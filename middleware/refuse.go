package middleware

import "github.com/gin-gonic/gin"

// refuse ends the request with the JSON form of all errors. The handlers count its code, if their middleware is in front.
func refuse(c *gin.Context, status int, code, message string) {
	if count, ok := c.Value("count_error").(func(code string)); ok {
		count(code)
	}
	c.Abort()
	// Gin keeps a Content-Type that a handler has set before it failed.
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.PureJSON(status, gin.H{"error": gin.H{"code": code, "message": message}})
}
