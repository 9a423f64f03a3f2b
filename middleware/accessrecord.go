package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/gin-gonic/gin"
)

// accessRecord is the access-log record of one request, while its handler runs. It belongs to the handler's goroutine.
type accessRecord struct {
	c        *gin.Context
	writer   *writer
	logger   *slog.Logger
	public   publicParameters
	start    time.Time
	attrs    []slog.Attr
	detached bool
}

// Add adds attributes to the record.
func (a *accessRecord) Add(attrs ...slog.Attr) { a.attrs = append(a.attrs, attrs...) }

// Detach is for a stream that outlives its handler: the record is then written by finish, and not when the handler returns. Call
// finish once, from any goroutine, with the bytes sent in all. Its attributes replace those of Add, which a detached record does not
// keep: there may be half a million.
func (a *accessRecord) Detach() (finish func(bytes int, attrs ...slog.Attr)) {
	a.detached = true
	level := levelOf(a.c)
	if !a.logger.Enabled(a.c.Request.Context(), level) {
		return func(int, ...slog.Attr) {}
	}
	// The function holds these and nothing else of the request.
	logger, start, packed := a.logger, a.start, pack(a.fields())
	return func(bytes int, attrs ...slog.Attr) {
		f := packed.unpack()
		f.done, f.bytes, f.duration, f.attrs = true, bytes, time.Since(start), attrs
		logger.LogAttrs(context.Background(), level, "stream closed", slog.Any("", f))
	}
}

// returned writes the record of a handler that has returned, or that has panicked.
func (a *accessRecord) returned(aborted bool) {
	switch {
	case a.detached && !aborted:
	case a.writer.flushed:
		a.write("stream closed", true, aborted)
	default:
		a.write("request", true, aborted)
	}
}

func (a *accessRecord) write(message string, done, aborted bool) {
	ctx, level := a.c.Request.Context(), levelOf(a.c)
	if !a.logger.Enabled(ctx, level) {
		return
	}
	f := a.fields()
	f.attrs, f.done, f.aborted, f.duration = a.attrs, done, aborted, time.Since(a.start)
	a.logger.LogAttrs(ctx, level, message, slog.Any("", f))
}

// packedFields are the fields that a detached record keeps, in one allocation.
type packedFields struct {
	texts  string // one after the other
	ends   [8]uint16
	status uint16
}

func (f *fields) texts() [8]*string {
	return [8]*string{&f.id, &f.traceID, &f.method, &f.path, &f.query, &f.client, &f.userAgent, &f.origin}
}

// pack copies the texts as far as clean uses them: they may be parts of larger ones, which would stay in memory.
func pack(f fields) packedFields {
	p := packedFields{status: uint16(f.status)}
	var all []byte
	for i, text := range f.texts() {
		all = append(all, (*text)[:min(len(*text), maxText+1)]...)
		p.ends[i] = uint16(len(all))
	}
	p.texts = string(all)
	return p
}

func (p packedFields) unpack() fields {
	f, start := fields{status: int(p.status)}, uint16(0)
	for i, text := range f.texts() {
		*text, start = p.texts[start:p.ends[i]], p.ends[i]
	}
	return f
}
