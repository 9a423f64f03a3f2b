package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"freshet/app"
	"freshet/client"
	"freshet/eventlog"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

// concurrentJobs is how many jobs run at a time. Further jobs wait in the log.
const concurrentJobs = 10

type jobs struct {
	live   *app.App
	client *client.Client
	pause  time.Duration // for a picture
}

// progress is the data of an event, and all that is known of a job.
type progress struct {
	Done int `json:"done"`
	Of   int `json:"of"`
}

// start publishes the first event of a job, and goes to its page.
func (j *jobs) start(c *gin.Context) {
	id := rand.Text()
	if _, err := j.live.Publish(c.Request.Context(), "jobs."+id, progress{Done: 0, Of: 100}); err != nil {
		slog.Error("a job was not started", "err", err)
		c.String(http.StatusServiceUnavailable, "This did not work. Try again in a moment.")
		return
	}
	c.Redirect(http.StatusSeeOther, "/jobs/"+id)
}

// run does all jobs. It begins with the newest event of each: after a restart, some jobs have no end yet.
func (j *jobs) run(ctx context.Context) error {
	var running errgroup.Group
	running.SetLimit(concurrentJobs)
	defer func() { _ = running.Wait() }() // their errors are logged
	known := map[string]bool{}
	for e, err := range j.client.Subscribe(ctx, client.Subscription{Topics: []string{"jobs.*"}, Since: "last"}) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		var p progress
		switch {
		case e.Type == "end":
			delete(known, e.Topic)
		case e.Type == e.Topic && !known[e.Topic] && json.Unmarshal([]byte(e.Data), &p) == nil:
			known[e.Topic] = true
			running.Go(func() error {
				if err := j.do(ctx, e.Topic, p); err != nil && ctx.Err() == nil {
					slog.Error("a job goes on after the next start", "topic", e.Topic, "err", err)
				}
				return nil
			})
		}
	}
	return errors.New("the jobs have ended")
}

// do does a job, or the rest of it. A picture may be done twice if the program dies before it has published that it is done.
func (j *jobs) do(ctx context.Context, topic string, p progress) error {
	for p.Done < p.Of {
		select {
		case <-time.After(j.pause): // your app works here
		case <-ctx.Done():
			return ctx.Err()
		}
		p.Done++
		if _, err := j.live.Publish(ctx, topic, p); err != nil {
			return err
		}
	}
	if _, err := j.live.End(ctx, topic); !errors.Is(err, eventlog.ErrEnded) {
		return err
	}
	return nil // it had ended
}
