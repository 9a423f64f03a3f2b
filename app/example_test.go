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
func serve(ctx context.Context, cfg config.Config, address string) error {
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	router := gin.New()
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.POST("/orders/:id/pay", func(c *gin.Context) {
		if _, err := live.Publish(c.Request.Context(), "orders.paid", gin.H{"id": c.Param("id")}); err != nil {
			_ = c.AbortWithError(http.StatusServiceUnavailable, err)
		}
	})
	server := app.NewServer(router, slog.Default()) // with time limits that suit streams
	server.Addr = address
	return live.Run(ctx, server) // until ctx is done; then it shuts down in order
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
	cfg := config.Default()
	cfg.Data, cfg.Hosts = dir, []string{"app.example.com"}
	go func() { ended <- serve(ctx, cfg, address) }()
	payAndRead("http://" + address)
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// event: orders.paid
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
