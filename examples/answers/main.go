// Answers is a page that shows the answers of a language model, which is simulated. An answer survives a reload, can be read in any number of tabs, and
// continues after a restart of the program.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"freshet/app"
	"freshet/client"
	"freshet/config"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

//go:embed page.html
var page string

func main() {
	listen := flag.String("listen", "localhost:8081", "address of the page")
	data := flag.String("data", "answers-data", "folder of the log")
	rate := flag.Int("rate", 50, "words a second of the model, 1 to 1000")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data, *rate)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "answers:", err)
		os.Exit(1)
	}
}

// run serves the page and writes answers until ctx is done.
func run(ctx context.Context, listen, data string, rate int) error {
	if rate < 1 || rate > 1000 {
		return fmt.Errorf("-rate is %d; want 1 to 1000", rate)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with -listen", err)
	}
	cfg := config.Default()
	cfg.Data = data
	cfg.Anonymous = nil // an answer is for its own page, which gets a ticket
	live, err := app.Open(ctx, cfg, logger)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	origin := "http://" + l.Addr().String()
	a := &answers{live: live, url: origin + "/live", pause: time.Second / time.Duration(rate), logger: logger}
	if a.client, err = client.New(client.Config{URL: a.url, Token: live.PublishToken()}); err != nil {
		return errors.Join(err, l.Close(), live.Close())
	}

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.SetHTMLTemplate(template.Must(template.New("page").Parse(page)))
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.GET("/", func(c *gin.Context) { c.HTML(http.StatusOK, "page", nil) })
	router.POST("/ask", a.ask)
	router.GET("/answers/:id", a.show)
	router.POST("/answers/:id/ticket", a.ticket)

	server := app.NewServer(router, logger)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { return a.write(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		return live.Shutdown(server)
	})
	fmt.Println("open", origin)
	return g.Wait()
}

// get sends a request with the publish token to the program's own Freshet, and decodes the response.
func (a *answers) get(ctx context.Context, path string, response any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+a.live.PublishToken())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, response)
}
