// Logs is a page that follows log files of any machine. The command freshet publish sends their lines.
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
	data := flag.String("data", "logs-data", "folder of the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "logs:", err)
		os.Exit(1)
	}
}

// run serves the page until ctx is done.
func run(ctx context.Context, listen, data string) error {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	cfg := config.Default()
	cfg.Data = data
	cfg.CORSOrigins = nil // other sites' pages may not read the logs
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.SetHTMLTemplate(template.Must(template.New("page").Parse(page)))
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.GET("/", func(c *gin.Context) { c.HTML(http.StatusOK, "page", data) })

	server := app.NewServer(router, slog.Default())
	server.Addr = listen
	fmt.Println("open http://" + listen)
	err = live.Run(ctx, server)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; choose another address with -listen", err)
	}
	return err
}
