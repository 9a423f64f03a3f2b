// Datastar is a page of notes that all visitors share. The program publishes each note as a fragment. Datastar puts it into the page.
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
	data := flag.String("data", "datastar-data", "folder of the log")
	modules := flag.String("modules", "examples/datastar/node_modules", "folder of the packages that npm installs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data, *modules)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "datastar:", err)
		os.Exit(1)
	}
}

// run serves the page until ctx is done.
func run(ctx context.Context, listen, data, modules string) error {
	if _, err := os.Stat(filepath.Join(modules, "@starfederation/datastar")); err != nil {
		return fmt.Errorf("%s has no package @starfederation/datastar; run npm install --prefix examples/datastar, or name another folder with -modules", modules)
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
	router.GET("/", func(c *gin.Context) { c.HTML(http.StatusOK, "page", nil) })
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

// add publishes a note as a fragment: HTML, and where pages show it.
func add(c *gin.Context, live *app.App, templates *template.Template) {
	text := strings.TrimSpace(c.PostForm("text"))
	if text == "" || len(text) > 1000 {
		c.String(http.StatusBadRequest, "A note has 1 to 1000 bytes.")
		return
	}
	var html strings.Builder
	err := templates.ExecuteTemplate(&html, "note", gin.H{"Time": time.Now(), "Text": text})
	if err == nil {
		// Each line gets a name, also after a CR: otherwise a note could have lines of its own, such as another selector.
		lines := strings.FieldsFunc(html.String(), func(r rune) bool { return r == '\n' || r == '\r' })
		data := "selector #notes\nmergeMode prepend\nfragments " + strings.Join(lines, "\nfragments ")
		_, err = live.PublishMessage(c.Request.Context(), app.Message{Topic: "notes", Type: "datastar-merge-fragments", Data: data})
	}
	if err != nil {
		slog.Error("a note was not published", "err", err)
		c.String(http.StatusServiceUnavailable, "This did not work. Try again in a moment.")
		return
	}
	c.Data(http.StatusOK, "text/event-stream", nil) // without events; after status 204, Datastar would send the note again
}
