package middleware

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"freshet/auth"

	"github.com/gin-gonic/gin"
)

// tokenCookie carries the token of a page of this server's own site, whose EventSource cannot send a header.
const tokenCookie = "freshet_token"

var errCookies = fmt.Errorf("%w: the cookie %s was sent more than once", auth.ErrUnauthenticated, tokenCookie)

// Authenticate puts the [auth.Caller] of the header Authorization: Bearer, or else of the cookie freshet_token, into the request's
// context. Without either, or with another scheme, which is then a proxy's affair, the caller is anonymous, and what an anonymous
// caller may do is for handlers to say.
//
// A bad token is never taken for none: 401. But whoever reads by a bad cookie is anonymous: browsers send one that has expired with
// every request, and what anybody may read is not to be closed to them. What is not is a 401 that says what is wrong with the cookie.
//
// What changes something by a cookie needs an Origin that is this server's, or one of the origins by its name: other sites can have a
// browser send the cookie, but not say whose page it was.
//
// An address whose tokens were bad too often gets 429, and its tokens are not looked at, but for those that were good there before:
// who shares the address with a guesser works on.
func Authenticate(keys *auth.Keys, origins []string) gin.HandlerFunc {
	badTokens := newBadTokenLimiter()
	return func(c *gin.Context) {
		token, cookie, sent, err := credential(c.Request)
		reads := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
		if cookie && !reads && !ownOrigin(c.Request, origins) {
			refuse(c, http.StatusForbidden, "origin",
				"by cookie, this needs a header Origin with this server's own origin or one that --cors-origin names; or send the token as Authorization: Bearer")
			return
		}
		caller := keys.Anonymous(nil)
		if sent {
			if err == nil {
				caller, err = badTokens.authenticate(c, keys, token)
			}
			if err != nil && cookie && reads {
				caller, err = keys.Anonymous(err), nil
			}
			if err != nil {
				refuseToken(c, err)
				return
			}
		}
		c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), caller))
	}
}

// credential finds the token, and says whether it is a cookie's.
func credential(r *http.Request) (token string, cookie, sent bool, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), false, true, nil
	}
	switch cookies := r.CookiesNamed(tokenCookie); len(cookies) {
	case 0:
		return "", false, false, nil
	case 1:
		return cookies[0].Value, true, true, nil
	default: // another host of the site may have set one of them
		return "", true, true, errCookies
	}
}

// ownOrigin says whether the request comes from a page of this server or of one of the origins, `*` not being one. Over plain HTTP
// there may be a proxy in between that has spoken HTTPS.
func ownOrigin(r *http.Request, origins []string) bool {
	switch origin := r.Header.Get("Origin"); {
	case origin == "" || origin == "*":
		return false
	case slices.Contains(origins, origin), origin == "https://"+r.Host, origin == "http://"+r.Host && r.TLS == nil:
		return true
	}
	return r.Header.Get("Sec-Fetch-Site") == "same-origin" // the browser's word, where a proxy changes Host
}

func refuseToken(c *gin.Context, err error) {
	_ = c.Error(err)
	if challenge := auth.Challenge(err); challenge != "" {
		c.Header("WWW-Authenticate", challenge)
	}
	var many *badTokensError
	switch {
	case errors.As(err, &many):
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(many.wait.Seconds()))))
		refuse(c, http.StatusTooManyRequests, "too_many_failures", many.Error())
	case errors.Is(err, auth.ErrUnavailable):
		c.Header("Retry-After", "10")
		refuse(c, http.StatusServiceUnavailable, "auth_unavailable", err.Error()+"; try again in a moment")
	default:
		refuse(c, http.StatusUnauthorized, "unauthorized", err.Error())
	}
}
