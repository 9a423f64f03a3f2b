package handlers

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"freshet/auth"
	"freshet/event"
	"freshet/stream"

	"github.com/gin-gonic/gin"
)

// backup serves GET /backup: a copy of all events that are stored now, for operators who may read every topic. If the copy fails or the client is too slow, the connection is cut:
// the end of the archive is then missing.
func (h *Handlers) backup(c *gin.Context) error {
	caller := auth.FromContext(c.Request.Context())
	if err := cmp.Or(caller.MayOperate(), caller.MayRead(event.All)); err != nil {
		return err
	}
	if !h.backups.TryLock() {
		return errBackupRunning
	}
	defer h.backups.Unlock()
	ctx, cancel := context.WithCancelCause(c.Request.Context())
	defer cancel(nil)
	defer context.AfterFunc(h.draining, func() { cancel(stream.ErrDraining) })()
	if h.draining.Err() != nil {
		return stream.ErrDraining
	}
	began := time.Now()
	b, err := h.cfg.Backup(ctx)
	if err != nil {
		return err
	}
	h.logger.Info("backup begins", "last", b.Summary.Last, "events", b.Summary.Events, "bytes", b.Summary.Bytes)
	header := c.Writer.Header()
	header.Set("Content-Type", "application/zip")
	header.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="freshet-%v.zip"`, b.Summary.Last))
	header.Set("Cache-Control", "no-store")
	out := &timedWriter{w: c.Writer, control: http.NewResponseController(c.Writer), limit: h.streams.Stall()}
	defer context.AfterFunc(ctx, out.stop)()
	err = b.CopyTo(ctx, out)
	took := time.Since(began).Round(time.Millisecond).String()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		h.logger.Warn("backup failed", "error", err, "sent_bytes", out.sent, "after", took)
		_ = c.Error(err) // for the request log
		panic(http.ErrAbortHandler)
	}
	h.logger.Info("backup complete", "last", b.Summary.Last, "sent_bytes", out.sent, "after", took)
	accessLogOf(c).Add(slog.String("last", b.Summary.Last.String()))
	return nil
}

// timedWriter limits the time of each write. The server's limit is for a whole response.
type timedWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
	sent    int64
}

func (w *timedWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.limit)) // where there is none, the transport has its own
	n, err := w.w.Write(p)
	w.sent += int64(n)
	return n, err
}

// stop ends a write that waits for the client.
func (w *timedWriter) stop() { _ = w.control.SetWriteDeadline(time.Unix(1, 0)) }
