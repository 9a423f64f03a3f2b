package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// A session is a cookie with the user and a signature. Your app has its own sessions, and passwords.
const cookie = "orders-session"

func (b *board) logIn(c *gin.Context) {
	if user := c.PostForm("user"); b.isUser(user) {
		c.SetSameSite(http.SameSiteLaxMode)
		c.SetCookie(cookie, b.sign(user), 24*60*60, "/", "", false, true) // over HTTPS, also set Secure
	}
	c.Redirect(http.StatusSeeOther, "/")
}

func (b *board) logOut(c *gin.Context) {
	if user := b.user(c); user != "" {
		if err := b.live.RevokeTickets(c.Request.Context(), user); err != nil { // ends the streams of all pages of the user
			fail(c, err)
			return
		}
	}
	c.SetCookie(cookie, "", -1, "/", "", false, true)
	c.Redirect(http.StatusSeeOther, "/")
}

// user returns the user who is logged in, or nothing.
func (b *board) user(c *gin.Context) string {
	session, _ := c.Cookie(cookie) // without a cookie it is empty
	user, _, _ := strings.Cut(session, ".")
	if !b.isUser(user) || !hmac.Equal([]byte(session), []byte(b.sign(user))) {
		return ""
	}
	return user
}

func (b *board) sign(user string) string {
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte("session of " + user))
	return user + "." + hex.EncodeToString(mac.Sum(nil))
}
