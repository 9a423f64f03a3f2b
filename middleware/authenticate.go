package middleware

import (
	"net/http"
	"strings"

	"freshet/auth"

	"github.com/gin-gonic/gin"
)

// Authenticate puts the [auth.Caller] of the header Authorization: Bearer into the request's context. Without that header, or with
// another scheme, which is then a proxy's affair, the caller is anonymous, and what an anonymous caller may do is for handlers to say.
// A bad token is never taken for none: 401.
func Authenticate(keys *auth.Keys) gin.HandlerFunc {
	return func(c *gin.Context) {
		scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return
		}
		caller, err := keys.Authenticate(strings.TrimSpace(token))
		if err != nil {
			_ = c.Error(err)
			c.Header("WWW-Authenticate", "Bearer")
			refuse(c, http.StatusUnauthorized, "unauthorized", err.Error())
			return
		}
		c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), caller))
	}
}
