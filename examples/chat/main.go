// Chat is a page with rooms. Each room is a topic. The page reads it from Freshet, and sends messages to this program, which checks and publishes them.
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
	"freshet/event"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
)

//go:embed page.html
var page string

func main() {
	listen := flag.String("listen", "localhost:8081", "address of the page")
	data := flag.String("data", "chat-data", "folder of the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *data)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run serves the chat until ctx is done.
func run(ctx context.Context, listen, data string) error {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	cfg := config.Default()
	cfg.Data = data
	cfg.CORSOrigins = nil // other sites' pages may not read along
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.SetHTMLTemplate(template.Must(template.New("page").Parse(page)))
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.GET("/", func(c *gin.Context) { c.Redirect(http.StatusSeeOther, "/rooms/lobby") })
	router.GET("/rooms/:room", show)
	router.POST("/rooms/:room", func(c *gin.Context) { send(c, live) })

	server := app.NewServer(http.NewCrossOriginProtection().Handler(router), slog.Default())
	server.Addr = listen
	fmt.Println("open http://" + listen)
	err = live.Run(ctx, server)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; choose another address with -listen", err)
	}
	return err
}

// show is the page of a room.
func show(c *gin.Context) {
	if _, ok := topicOf(c); ok {
		c.HTML(http.StatusOK, "page", gin.H{"Room": c.Param("room"), "Rooms": []string{"lobby", "kitchen", "garden"}})
	}
}

// message is what the form of the page sends, and what the page reads. The limits are in characters.
type message struct {
	Name string `form:"name" json:"name" binding:"required,max=40"`
	Text string `form:"text" json:"text" binding:"required,max=1000"`
	Key  string `form:"key" json:"-" binding:"required,max=100"` // sent again after an error: the message is stored once
}

// send publishes a message. A real app checks here who the user is, and how often the user writes.
func send(c *gin.Context, live *app.App) {
	topic, ok := topicOf(c)
	if !ok {
		return
	}
	var m message
	if err := c.ShouldBindWith(&m, binding.FormPost); err != nil {
		c.String(http.StatusBadRequest, "A message needs a name of up to 40 characters, and a text of up to 1000.")
		return
	}
	if _, err := live.PublishMessage(c.Request.Context(), app.Message{Topic: topic, Data: m, Key: m.Key}); err != nil {
		slog.Error("a message was not published", "err", err)
		c.String(http.StatusServiceUnavailable, "This did not work. Try again in a moment.")
		return
	}
	c.Status(http.StatusNoContent)
}

// topicOf returns the topic of the room in the path.
func topicOf(c *gin.Context) (topic string, ok bool) {
	parsed, err := event.ParseTopic("chat." + c.Param("room"))
	if err != nil {
		c.String(http.StatusNotFound, "A room cannot have this name. Use letters, digits and dashes.")
	}
	return parsed.String(), err == nil
}
