package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"freshet/app"
	"freshet/config"

	"github.com/gin-gonic/gin"
)

// serve is a Gin app with Freshet under /live, which runs until ctx is done.
func serve(ctx context.Context, dir, address string) error {
	cfg := config.Default()
	cfg.Data = dir
	cfg.Hosts = []string{"app.example.com"} // your app's names; localhost always works
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	router := gin.New()
	router.Use(gin.LoggerWithConfig(gin.LoggerConfig{SkipQueryString: true}), gin.Recovery()) // query strings can have tickets
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.POST("/orders/:id/pay", func(c *gin.Context) {
		id, err := live.Publish(c, "orders.eu.paid", gin.H{"id": c.Param("id")})
		if err != nil {
			_ = c.AbortWithError(http.StatusServiceUnavailable, err)
			return
		}
		c.JSON(http.StatusOK, gin.H{"event": id})
	})

	server := app.NewServer(router, slog.Default()) // with time limits that suit streams
	server.Addr = address
	context.AfterFunc(ctx, func() { _ = live.Shutdown(server) }) // live.Close has the error
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, live.Close())
	}
	return live.Close()
}

func Example() {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = os.Stderr
	slog.SetDefault(slog.New(slog.DiscardHandler))
	dir, err := os.MkdirTemp("", "freshet")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	address := l.Addr().String()
	_ = l.Close()

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- serve(ctx, dir, address) }()
	payAndRead("http://" + address)
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// event: orders.eu.paid
	// data: {"id":"17"}
	// ended: <nil>
}

func payAndRead(app string) {
	var stream *http.Response
	err := errors.New("not tried")
	for err != nil { // until the app listens
		stream, err = http.Get(app + "/live/event/orders.>?since=all")
	}
	defer func() { _ = stream.Body.Close() }()
	if _, err := http.Post(app+"/orders/17/pay", "", nil); err != nil {
		fmt.Println(err)
		return
	}
	lines := bufio.NewScanner(stream.Body)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "event:") {
			fmt.Println(line)
		} else if strings.HasPrefix(line, "data:") {
			fmt.Println(line)
			return
		}
	}
}
