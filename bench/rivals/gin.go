//go:build linux

package rivals

import (
	"io"
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"
)

// queueLen is how many events a reader's queue holds. A full queue blocks the publisher, so that
// nothing is lost.
const queueLen = 64

// plainGin is what tutorials show: a queue for each reader, c.Stream and c.SSEvent.
func plainGin() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	app := gin.New()
	var mu sync.Mutex
	readers := map[chan string]struct{}{}
	app.GET("/event", func(c *gin.Context) {
		queue := make(chan string, queueLen)
		mu.Lock()
		readers[queue] = struct{}{}
		mu.Unlock()
		defer func() {
			mu.Lock()
			delete(readers, queue)
			mu.Unlock()
		}()
		c.Header("Content-Type", "text/event-stream")
		c.Header("Cache-Control", "no-cache")
		c.Writer.WriteHeaderNow()
		c.Writer.Flush()
		c.Stream(func(io.Writer) bool {
			select {
			case data := <-queue:
				c.SSEvent("bench", data)
				return true
			case <-c.Request.Context().Done():
				return false
			}
		})
	})
	app.POST("/publish", func(c *gin.Context) {
		data, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		mu.Lock()
		for queue := range readers {
			queue <- string(data)
		}
		mu.Unlock()
		c.Status(http.StatusNoContent)
	})
	return app, nil
}
