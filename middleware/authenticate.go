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

// tokenCookie carries the token of a page on this server's own site, because EventSource cannot send a header.
const tokenCookie = "freshet_token"

var errCookies = fmt.Errorf("%w: the cookie %s was sent more than once", auth.ErrUnauthenticated, tokenCookie)

// Authenticate puts the [auth.Caller] into the request's context.
//   - The token is in the header Authorization: Bearer, or else in the cookie freshet_token. Other schemes belong to a proxy.
//   - A request that publishes with a ticket is anonymous until a handler has verified the ticket. Its cookies do not count.
//   - Without a token the caller is anonymous, and handlers decide what it may do.
//   - A bad token gets 401, also where no token is needed. For GET and HEAD, a bad cookie counts as no token, because
//     browsers keep sending an expired cookie. Where a token is needed, the 401 then says what is wrong with the cookie.
//   - Other methods with a cookie need an Origin that is this server's own or listed: other sites cannot forge it.
//   - A client that sends too many bad tokens gets 429 for a while, except for tokens that were good from its address before.
//   - A function of the program that embeds the server may know the sender of a request without a good token: [auth.Keys.Recognize].
//     It may look at any cookie.
func Authenticate(keys *auth.Keys, origins []string) gin.HandlerFunc {
	badTokens := newBadTokenLimiter()
	return func(c *gin.Context) {
		token, cookie, sent, err := credential(c.Request)
		reads := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
		byTicket := !sent && hasTicket(c.Request)
		cookie = cookie || !sent && !byTicket && keys.Recognizes() && c.GetHeader("Cookie") != ""
		if cookie && !reads && !ownOrigin(c.Request, origins) {
			refuse(c, http.StatusForbidden, "origin",
				"with a cookie, this request needs the header Origin: this server's own origin, or one that --cors-origin lists; or send the token as Authorization: Bearer")
			return
		}
		var caller auth.Caller
		switch {
		case byTicket: // nothing that a cookie allows, because the Origin was not checked
			caller = keys.Anonymous(nil)
		case !sent:
			caller = keys.Recognize(c.Request, nil)
		default:
			if err == nil {
				caller, err = badTokens.authenticate(c, keys, token)
			}
			if err != nil && cookie && reads {
				caller, err = keys.Recognize(c.Request, err), nil
			}
			if err != nil {
				refuseToken(c, err)
				return
			}
		}
		c.Request = c.Request.WithContext(auth.NewContext(c.Request.Context(), caller))
	}
}

// credential finds the token, and reports whether it is from a cookie.
func credential(r *http.Request) (token string, cookie, sent bool, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), false, true, nil
	}
	if hasTicket(r) {
		return "", false, false, nil
	}
	switch cookies := r.CookiesNamed(tokenCookie); len(cookies) {
	case 0:
		return "", false, false, nil
	case 1:
		return cookies[0].Value, true, true, nil
	default: // another host of the same site may have set one of them
		return "", true, true, errCookies
	}
}

// ownOrigin reports whether the request comes from a page of this server or of a listed origin; `*` lists none. If the request came
// over plain HTTP, the page may still be HTTPS: a proxy may have ended TLS.
func ownOrigin(r *http.Request, origins []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || origin == "*" {
		return false
	}
	return slices.Contains(origins, origin) || origin == "https://"+r.Host || origin == "http://"+r.Host && r.TLS == nil ||
		r.Header.Get("Sec-Fetch-Site") == "same-origin" // from the browser; helps where a proxy changes Host
}

func refuseToken(c *gin.Context, err error) {
	_ = c.Error(err)
	var many *badTokensError
	switch {
	case errors.As(err, &many):
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(many.wait.Seconds()))))
		refuse(c, http.StatusTooManyRequests, "too_many_failures", many.Error())
	case errors.Is(err, auth.ErrUnavailable):
		c.Header("Retry-After", "10")
		refuse(c, http.StatusServiceUnavailable, "auth_unavailable", err.Error()+"; try again in a few seconds")
	default:
		c.Header("WWW-Authenticate", auth.Challenge(err))
		refuse(c, http.StatusUnauthorized, "unauthorized", err.Error())
	}
}
