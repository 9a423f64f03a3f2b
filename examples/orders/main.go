// Orders is a board of orders. Customers see their own orders, and the staff sees all: each page gets a ticket for what its user may read.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"freshet/app"
	"freshet/config"

	"github.com/gin-gonic/gin"
)

//go:embed page.html
var page string

func main() {
	listen := flag.String("listen", "localhost:8081", "address of the page")
	data := flag.String("data", "orders-data", "folder of the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

// run serves the board until ctx is done.
func run(ctx context.Context, listen, data string) error {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	cfg := config.Default()
	cfg.Data = data
	cfg.Anonymous = nil // reading needs a ticket
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	b := &board{live: live, users: []string{"alice", "bob", staff}, key: []byte(live.PublishToken())}

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.SetHTMLTemplate(template.Must(template.New("page").Parse(page)))
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.GET("/", b.show)
	router.POST("/login", b.logIn)
	router.POST("/logout", b.logOut)
	router.POST("/ticket", b.mustBeLoggedIn, b.ticket)
	router.POST("/orders", b.mustBeLoggedIn, b.order)
	router.POST("/orders/:user/:id", b.mustBeLoggedIn, b.move)

	server := app.NewServer(http.NewCrossOriginProtection().Handler(router), slog.Default())
	server.Addr = listen
	fmt.Println("open http://" + listen)
	err = live.Run(ctx, server)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; choose another address with -listen", err)
	}
	return err
}
