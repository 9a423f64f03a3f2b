package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"freshet/app"
	"freshet/client"
	"freshet/event"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

//go:embed words.txt
var words string

// concurrentAnswers is how many answers are written at a time. Further questions wait in the log.
const concurrentAnswers = 100

// questions is the topic of the questions. The data of an event is the ID of the answer.
const questions = "questions"

type answers struct {
	live   *app.App
	client *client.Client
	url    string        // of Freshet
	pause  time.Duration // between two words
	logger *slog.Logger
}

// ask publishes a question and goes to the page of its answer.
func (a *answers) ask(c *gin.Context) {
	id := rand.Text()
	if _, err := a.live.Publish(c.Request.Context(), questions, id); err != nil {
		a.fail(c, http.StatusServiceUnavailable, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/answers/"+id)
}

// show is the page of an answer.
func (a *answers) show(c *gin.Context) {
	if topic, ok := topicOf(c); ok {
		c.HTML(http.StatusOK, "page", topic)
	}
}

// ticket gives the page of an answer the right to read and to stop it. A real app checks here that the answer belongs to the user.
func (a *answers) ticket(c *gin.Context) {
	topic, ok := topicOf(c)
	if !ok {
		return
	}
	token, err := a.live.IssueTicket(c.Request.Context(), app.Ticket{Topics: []string{topic}, Publish: []string{topic + ".stop"}, Origin: "http://" + c.Request.Host})
	if err != nil {
		a.fail(c, http.StatusServiceUnavailable, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"ticket": token})
}

// topicOf returns the topic of the answer in the path. A pattern is no topic, so nobody gets a ticket for all answers.
func topicOf(c *gin.Context) (topic string, ok bool) {
	parsed, err := event.ParseTopic("answers." + c.Param("id"))
	if err != nil {
		c.String(http.StatusNotFound, "There is no such answer. Ask again at /.")
	}
	return parsed.String(), err == nil
}

func (a *answers) fail(c *gin.Context, status int, err error) {
	a.logger.Error("a request failed", "path", c.FullPath(), "err", err)
	c.String(status, "This did not work. Try again in a moment.")
}

// write answers all questions. It begins with the first one that the log has: after a restart, some answers have no end yet.
func (a *answers) write(ctx context.Context) error {
	var writing errgroup.Group
	writing.SetLimit(concurrentAnswers)
	defer func() { _ = writing.Wait() }() // their errors are logged
	for question, err := range a.client.Subscribe(ctx, client.Subscription{Topics: []string{questions}, Since: "all"}) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if question.Gap != nil {
			continue // these questions are older than the log, and so are their answers
		}
		writing.Go(func() error {
			if err := a.writeOne(ctx, "answers."+question.Data); err != nil && ctx.Err() == nil {
				a.logger.Error("an answer was not written", "id", question.Data, "err", err)
			}
			return nil
		})
	}
	return errors.New("the questions have ended")
}

// writeOne writes an answer, or the rest of it.
func (a *answers) writeOne(ctx context.Context, topic string) error {
	text, ended, err := a.stored(ctx, topic)
	if err != nil || ended {
		return err
	}
	answer, err := a.client.Answer(ctx, topic)
	if err != nil {
		return err
	}
	for word := range a.model(answer.Stopped(), text) {
		if _, err := io.WriteString(answer, word); err != nil {
			return err
		}
	}
	if ctx.Err() != nil { // the program stops: its next start continues the answer
		return ctx.Err()
	}
	return answer.End()
}

// stored returns the text of the topic, and whether it has ended.
func (a *answers) stored(ctx context.Context, topic string) (text string, ended bool, err error) {
	query := url.Values{"topic": {topic}, "limit": {"1000"}}
	for more := true; more; {
		var page struct {
			Events []struct{ Type, Data string }
			Cursor string
			More   bool
		}
		if err := a.get(ctx, "/history?"+query.Encode(), &page); err != nil {
			return "", false, err
		}
		for _, e := range page.Events {
			switch e.Type {
			case topic:
				text += e.Data
			case "end":
				ended = true
			}
		}
		query.Set("cursor", page.Cursor)
		more = page.More
	}
	return text, ended, nil
}

// model yields the words that follow the text, until it is stopped. A real model gets the question and the text that it has written so far.
func (a *answers) model(stopped context.Context, text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		tick := time.NewTicker(a.pause)
		defer tick.Stop()
		for word := range strings.SplitAfterSeq(strings.TrimPrefix(words, text), " ") {
			select {
			case <-tick.C:
			case <-stopped.Done():
				return
			}
			if !yield(word) {
				return
			}
		}
	}
}
