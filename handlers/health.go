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

// readyz serves GET /readyz.
func (h *Handlers) readyz(c *gin.Context) error {
	if err := h.Ready(c.Request.Context()); err != nil {
		return err
	}
	c.PureJSON(http.StatusOK, gin.H{"status": "ready"})
	return nil
}

// Ready returns nil if streams and publishing work. It fails during a drain, and while the log does not respond within two seconds or cannot be
// written.
func (h *Handlers) Ready(ctx context.Context) error {
	if h.streams.Draining() {
		return stream.ErrDraining
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch err := h.log.Ready(ctx); {
	case errors.Is(err, eventlog.ErrRefused):
		return err
	case errors.Is(err, eventlog.ErrFull):
		return fmt.Errorf("%w: %v", errNotWritable, err) //nolint:errorlint // the response is that of errNotWritable
	case err != nil:
		return fmt.Errorf("%w: %v", errNotReady, err) //nolint:errorlint // the response is that of errNotReady
	}
	return nil
}
