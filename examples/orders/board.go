package main

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"freshet/app"
	"freshet/event"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
)

// staff is the user who sees all orders and moves them on.
const staff = "staff"

// board is the app. Each order has a topic, orders.USER.ID, and an event for each of its states. The log is the only store here. Your app keeps
// its orders in a database, and publishes after it has committed.
type board struct {
	live  *app.App
	users []string
	key   []byte // signs sessions. It is the publish token, which survives a restart, and so do they

	loggedOut sync.Map // sessions, by their cookie
}

// change is an event of an order.
type change struct {
	State string `form:"state" json:"state" binding:"omitempty,oneof=packed sent delivered"`
	Item  string `form:"item" json:"item,omitempty" binding:"max=60"` // only in the first event
}

func (b *board) isUser(name string) bool { return slices.Contains(b.users, name) }

// topics is what the page of a user reads.
func topics(user string) string {
	if user == staff {
		return "orders.>"
	}
	return "orders." + user + ".*"
}

func (b *board) show(c *gin.Context) {
	user := b.user(c)
	c.Header("Cache-Control", "no-store") // after another login, the back button must not show this page
	c.HTML(http.StatusOK, "page", gin.H{"User": user, "Users": b.users, "Topics": topics(user), "Staff": user == staff})
}

// ticket lets the page of a user read the orders of that user.
func (b *board) ticket(c *gin.Context) {
	user := b.user(c)
	ticket, err := b.live.IssueTicket(c.Request.Context(), app.Ticket{
		Topics: []string{topics(user)}, Origin: "http://" + c.Request.Host, Subject: user, Lifetime: 10 * time.Minute,
	})
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"ticket": ticket})
}

// order takes an order of a customer.
func (b *board) order(c *gin.Context) {
	user := b.user(c)
	if user == staff {
		c.String(http.StatusForbidden, "Only customers order.")
		return
	}
	var order change
	if err := c.ShouldBindWith(&order, binding.FormPost); err != nil || order.Item == "" {
		c.String(http.StatusBadRequest, "An order needs an item of up to 60 characters.")
		return
	}
	order.State = "placed"
	b.publish(c, "orders."+user+"."+rand.Text(), order)
}

// move gives an order its next state.
func (b *board) move(c *gin.Context) {
	if b.user(c) != staff {
		c.String(http.StatusForbidden, "Only the staff moves orders on.")
		return
	}
	topic, errTopic := event.ParseTopic("orders." + c.Param("user") + "." + c.Param("id"))
	var next change
	if err := c.ShouldBindWith(&next, binding.FormPost); err != nil || errTopic != nil || next.State == "" {
		c.String(http.StatusBadRequest, "An order can be packed, sent or delivered.")
		return
	}
	b.publish(c, topic.String(), change{State: next.State})
}

// publish stores a change. Its key is the state, so a button that is pressed twice changes the order once.
func (b *board) publish(c *gin.Context, topic string, e change) {
	if _, err := b.live.PublishMessage(c.Request.Context(), app.Message{Topic: topic, Data: e, Key: e.State}); err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func fail(c *gin.Context, err error) {
	slog.Error("a request failed", "path", c.FullPath(), "err", err)
	c.String(http.StatusServiceUnavailable, "This did not work. Try again in a moment.")
}
