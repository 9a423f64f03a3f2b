package middleware

import (
	"bufio"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// writer reports the first Flush. Its CloseNotify and Hijack do not panic if the server's writer lacks them, as Gin's do.
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

// CloseNotify is for c.Stream. It returns nil, which never reports, if the server's writer has no CloseNotify (httptest, wrappers).
func (w *writer) CloseNotify() <-chan bool {
	if _, ok := w.server().(interface{ CloseNotify() <-chan bool }); !ok {
		return nil
	}
	return w.ResponseWriter.CloseNotify()
}

// Hijack returns [http.ErrNotSupported] if there is no connection to take over, as in HTTP/2.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if _, ok := w.server().(http.Hijacker); !ok {
		return nil, nil, http.ErrNotSupported
	}
	return w.ResponseWriter.Hijack()
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// server returns the writer that Gin got from the server.
func (w *writer) server() http.ResponseWriter {
	if below, ok := w.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok {
		return below.Unwrap()
	}
	return w.ResponseWriter
}
