package middleware

import (
	"bufio"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// writer reports the first Flush, and mends two methods of Gin's writer that panic when the writer below lacks them.
type writer struct {
	gin.ResponseWriter
	flushed     bool
	beforeFlush func() // called once, on the handler's goroutine
}

func (w *writer) Flush() {
	if !w.flushed {
		w.flushed = true
		w.beforeFlush()
	}
	w.ResponseWriter.Flush()
}

// CloseNotify answers nil, a channel that never reports, if the connection cannot tell (httptest, wrapped writers): c.Stream asks.
func (w *writer) CloseNotify() <-chan bool {
	if _, ok := w.below().(interface{ CloseNotify() <-chan bool }); !ok {
		return nil
	}
	return w.ResponseWriter.CloseNotify()
}

// Hijack answers [http.ErrNotSupported] where there is no connection to take, as in HTTP/2.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if _, ok := w.below().(http.Hijacker); !ok {
		return nil, nil, http.ErrNotSupported
	}
	return w.ResponseWriter.Hijack()
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}

// below is the writer that Gin got from the server.
func (w *writer) below() http.ResponseWriter {
	if gins, ok := w.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok {
		return gins.Unwrap()
	}
	return w.ResponseWriter
}
