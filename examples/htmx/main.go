// Htmx is a page of notes that all visitors share. The program renders each note as HTML and publishes it. htmx puts it into the page.
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
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"freshet/app"
	"freshet/config"

	"github.com/gin-gonic/gin"
)

//go:embed page.html
var page string

func main() {
	listen := flag.String("listen", "localhost:8081", "address of the page")
	data := flag.String("data", "htmx-data", "folder of the log")
	modules := flag.String("modules", "examples/htmx/node_modules", "folder of the packages that npm installs")
	version := flag.Int("htmx", 2, "version of htmx, 2 or 4")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data, *modules, *version)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "htmx:", err)
		os.Exit(1)
	}
}

// run serves the page until ctx is done.
func run(ctx context.Context, listen, data, modules string, version int) error {
	if version != 2 && version != 4 {
		return fmt.Errorf("-htmx is %d; want 2 or 4", version)
	}
	if _, err := os.Stat(filepath.Join(modules, "htmx.org")); err != nil {
		return fmt.Errorf("%s has no package htmx.org; run npm install --prefix examples/htmx, or name another folder with -modules", modules)
	}
	slog.SetLogLoggerLevel(slog.LevelWarn)
	cfg := config.Default()
	cfg.Data = data
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	templates := template.Must(template.New("page").Parse(page))

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.SetHTMLTemplate(templates)
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.Static("/modules", modules)
	router.GET("/", func(c *gin.Context) { c.HTML(http.StatusOK, "page", version) })
	router.POST("/notes", func(c *gin.Context) { add(c, live, templates) })

	server := app.NewServer(http.NewCrossOriginProtection().Handler(router), slog.Default())
	server.Addr = listen
	fmt.Println("open http://" + listen)
	err = live.Run(ctx, server)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; choose another address with -listen", err)
	}
	return err
}

// add publishes a note as the HTML that pages show.
func add(c *gin.Context, live *app.App, templates *template.Template) {
	text := strings.TrimSpace(c.PostForm("text"))
	if text == "" || len(text) > 1000 {
		c.String(http.StatusBadRequest, "A note has 1 to 1000 bytes.")
		return
	}
	var html strings.Builder
	err := templates.ExecuteTemplate(&html, "note", gin.H{"Time": time.Now(), "Text": text})
	if err == nil {
		// Of the type message, because htmx 4 shows only events without a name.
		_, err = live.PublishMessage(c.Request.Context(), app.Message{Topic: "notes", Type: "message", Data: html.String()})
	}
	if err != nil {
		slog.Error("a note was not published", "err", err)
		c.String(http.StatusServiceUnavailable, "This did not work. Try again in a moment.")
		return
	}
	c.Status(http.StatusNoContent)
}
