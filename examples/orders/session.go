package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// A session is a cookie, USER.ID.SIGNATURE. Your app has its own sessions, and passwords.
const cookie = "orders-session"

func (b *board) logIn(c *gin.Context) {
	if user := c.PostForm("user"); b.isUser(user) {
		c.SetSameSite(http.SameSiteLaxMode)
		c.SetCookie(cookie, b.sign(user+"."+rand.Text()), 24*60*60, "/", "", false, true) // over HTTPS, also set Secure
	}
	c.Redirect(http.StatusSeeOther, "/")
}

// logOut first ends the session, because other tabs with it ask for new tickets as soon as theirs are revoked.
func (b *board) logOut(c *gin.Context) {
	if user, session := b.user(c), b.session(c); user != "" {
		b.loggedOut.Store(session, true)
		if err := b.live.RevokeTickets(c.Request.Context(), user); err != nil {
			fail(c, err)
			return
		}
	}
	c.SetCookie(cookie, "", -1, "/", "", false, true)
	c.Redirect(http.StatusSeeOther, "/")
}

func (b *board) mustBeLoggedIn(c *gin.Context) {
	if b.user(c) == "" {
		c.String(http.StatusUnauthorized, "You are not logged in.")
		c.Abort()
	}
}

// user returns the user who is logged in, or nothing.
func (b *board) user(c *gin.Context) string {
	session := b.session(c)
	user, rest, _ := strings.Cut(session, ".")
	id, _, _ := strings.Cut(rest, ".")
	if _, out := b.loggedOut.Load(session); out || !b.isUser(user) || !hmac.Equal([]byte(session), []byte(b.sign(user+"."+id))) {
		return ""
	}
	return user
}

func (b *board) session(c *gin.Context) string {
	session, _ := c.Cookie(cookie) // without a cookie it is empty
	return session
}

func (b *board) sign(text string) string {
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte("session " + text))
	return text + "." + hex.EncodeToString(mac.Sum(nil))
}
