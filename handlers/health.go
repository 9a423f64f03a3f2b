package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet/eventlog"
	"freshet/stream"

	"github.com/gin-gonic/gin"
)

// livez serves GET /livez: the process responds.
func (h *Handlers) livez(c *gin.Context) {
	c.PureJSON(http.StatusOK, gin.H{"status": "live"})
}

// readyz serves GET /readyz: streams and publishing work. It fails during a drain, and while the log does not respond
// or cannot be written.
func (h *Handlers) readyz(c *gin.Context) error {
	if h.streams.Draining() {
		return stream.ErrDraining
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
	defer cancel()
	if err := h.log.Ready(ctx); errors.Is(err, eventlog.ErrRefused) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %v", errNotReady, err) //nolint:errorlint // the response is that of errNotReady
	}
	c.PureJSON(http.StatusOK, gin.H{"status": "ready"})
	return nil
}
