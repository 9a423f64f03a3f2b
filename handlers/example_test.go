package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/hub"
	"freshet/middleware"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

// mount serves events under /live of an app. What it starts in g ends with ctx; the caller
// closes the log after g is done.
func mount(ctx context.Context, g *errgroup.Group, app gin.IRouter, log *eventlog.Log, token string) (*handlers.Handlers, error) {
	h, err := hub.New(ctx, log, hub.Config{})
	if err != nil {
		return nil, err
	}
	live, err := handlers.New(handlers.Config{Log: log, Hub: h, CounterInterval: time.Second, Heartbeat: 15 * time.Second})
	if err != nil {
		return nil, err
	}
	keys, err := auth.New(auth.Config{PublishToken: token, Anonymous: event.Patterns{event.All}})
	if err != nil {
		return nil, err
	}
	g.Go(func() error { return h.Run(ctx) })
	g.Go(func() error { return live.Run(ctx) })
	live.Register(app.Group("/live", middleware.Authenticate(keys, nil)))
	return live, nil
}

// The handlers mounted in an app of one's own: an event is published and read back.
func ExampleHandlers_Register() {
	if err := runApp(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 201 Created
	// news: hello
}

func runApp() error {
	gin.SetMode(gin.TestMode)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log, err := eventlog.Open(ctx, eventlog.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer log.Close()
	var g errgroup.Group
	app := gin.New()
	const token = "a-token-of-your-own"
	live, err := mount(ctx, &g, app, log, token)
	if err != nil {
		return err
	}
	server := httptest.NewServer(app)

	err = publishAndRead(server.URL+"/live/event/news", token)

	// The streams end first: a server waits for its requests.
	err = errors.Join(err, live.Drain(ctx, 0))
	server.Close()
	cancel()
	return errors.Join(err, g.Wait())
}

func publishAndRead(url, token string) error {
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader("hello"))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	answer.Body.Close()
	fmt.Println(answer.Status)

	stream, err := http.Get(url + "?since=all")
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	frames := event.NewScanner(stream.Body, 1<<20)
	for frames.Scan() {
		if f := frames.Frame(); f.HasData {
			fmt.Printf("%s: %s\n", f.Type, f.Data)
			break
		}
	}
	return frames.Err()
}
