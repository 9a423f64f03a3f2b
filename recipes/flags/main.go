// Flags evaluates feature flags by OFREP, the protocol of OpenFeature, and tells pages when a flag changes.
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"freshet/app"
	"freshet/config"

	"github.com/gin-gonic/gin"
)

// flags are the same for all users. A real app evaluates them for the context in the body of the request.
type flags struct {
	live     *app.App
	origin   string        // of the pages
	lifetime time.Duration // of a ticket

	mu      sync.Mutex
	values  map[string]bool
	stream  string // the URL of the event stream
	expires time.Time
}

// evaluate serves POST /ofrep/v1/evaluate/flags.
func (f *flags) evaluate(c *gin.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Until(f.expires) < f.lifetime/2 {
		ticket, err := f.live.IssueTicket(c.Request.Context(), app.Ticket{Topics: []string{"flags"}, Origin: f.origin, Lifetime: f.lifetime})
		if err != nil {
			c.JSON(http.StatusServiceUnavailable, gin.H{"errorDetails": "There is no event stream now. Try again."})
			return
		}
		// Since 10m: a page misses no change between this answer and its stream, or between two streams.
		f.stream, f.expires = f.origin+"/live/event?topic=flags&since=10m&ticket="+ticket, time.Now().Add(f.lifetime)
	}
	evaluated := []gin.H{}
	for key, value := range f.values {
		evaluated = append(evaluated, gin.H{"key": key, "value": value, "reason": "STATIC"})
	}
	// Without an ETag, the provider tells the page after each fetch. A 304 would hide what it has fetched after a lost stream.
	c.JSON(http.StatusOK, gin.H{"flags": evaluated, "eventStreams": []gin.H{{"type": "sse", "url": f.stream}}})
}

// set serves PUT /flags/{key}, whose body is true or false.
func (f *flags) set(c *gin.Context) {
	token := []byte("Bearer " + f.live.PublishToken())
	if subtle.ConstantTimeCompare([]byte(c.GetHeader("Authorization")), token) == 0 {
		c.String(http.StatusUnauthorized, "Send the publish token as Authorization: Bearer.\n")
		return
	}
	var value bool
	if err := c.ShouldBindJSON(&value); err != nil {
		c.String(http.StatusBadRequest, "The body must be true or false.\n")
		return
	}
	f.mu.Lock()
	f.values[c.Param("key")] = value
	f.mu.Unlock()
	if err := f.changed(c.Request.Context()); err != nil {
		c.String(http.StatusServiceUnavailable, "The flag is set, but pages do not know it. Send the request again.\n")
		return
	}
	c.Status(http.StatusNoContent)
}

// changed makes all pages fetch the flags again.
func (f *flags) changed(ctx context.Context) error {
	_, err := f.live.PublishMessage(ctx, app.Message{Topic: "flags", Type: "message", Data: gin.H{"type": "refetchEvaluation"}})
	return err
}

func main() {
	address := flag.String("listen", "localhost:8081", "address of the page")
	lifetime := flag.Duration("lifetime", time.Hour, "lifetime of a ticket")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *address, *lifetime)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "flags:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string, lifetime time.Duration) error {
	cfg := config.Default()
	cfg.Anonymous = nil // pages have a ticket
	live, err := app.Open(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	f := &flags{live: live, origin: "http://" + address, lifetime: lifetime, values: map[string]bool{"new-checkout": false}}
	if err := f.changed(ctx); err != nil { // since the last run
		return errors.Join(err, live.Close())
	}
	router := gin.New()
	router.POST("/ofrep/v1/evaluate/flags", f.evaluate)
	router.PUT("/flags/:key", f.set)
	router.Any("/live/*path", gin.WrapH(http.StripPrefix("/live", live)))
	router.StaticFile("/", "index.html")
	router.StaticFile("/bundle.js", "bundle.js")
	server := app.NewServer(router, slog.Default())
	server.Addr = address
	fmt.Println("open http://" + address)
	return live.Run(ctx, server)
}
