// Progress is a page that shows how far a long job is. The job goes on after a restart of the program, and so does the page.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
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
	data := flag.String("data", "progress-data", "folder of the log")
	rate := flag.Int("rate", 10, "pictures a second, 1 to 1000")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data, *rate)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "progress:", err)
		os.Exit(1)
	}
}

// run serves the page and does the jobs until ctx is done.
func run(ctx context.Context, listen, data string, rate int) error {
	if rate < 1 || rate > 1000 {
		return fmt.Errorf("-rate is %d; want 1 to 1000", rate)
	}
	slog.SetLogLoggerLevel(slog.LevelWarn)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with -listen", err)
	}
	cfg := config.Default()
	cfg.Data = data
	cfg.CORSOrigins = nil // other sites' pages may not read along
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	origin := "http://" + l.Addr().String()
	j := &jobs{live: live, pause: time.Second / time.Duration(rate)}
	if j.client, err = client.New(client.Config{URL: origin + "/live"}); err != nil {
		return errors.Join(err, l.Close(), live.Close())
	}

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.SetHTMLTemplate(template.Must(template.New("page").Parse(page)))
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.GET("/", func(c *gin.Context) { c.HTML(http.StatusOK, "page", nil) })
	router.POST("/jobs", j.start)
	router.GET("/jobs/:id", func(c *gin.Context) { c.HTML(http.StatusOK, "page", c.Param("id")) })

	server := app.NewServer(http.NewCrossOriginProtection().Handler(router), slog.Default())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { return j.run(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		return live.Shutdown(server)
	})
	fmt.Println("open", origin)
	return g.Wait()
}
