//go:build linux

package rivals

import (
	"io"
	"net/http"

	"github.com/r3labs/sse/v2"
)

// r3labs is r3labs/sse with its own log, which numbers the events from 0, keeps all of them, and
// sends all to a reader without a last event ID.
func r3labs() (http.Handler, error) {
	const stream = "bench"
	server := sse.New()
	server.SplitData = true // a line of data for each line of an event
	server.CreateStream(stream)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /event", func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = "stream=" + stream
		server.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		server.Publish(stream, &sse.Event{Event: []byte(stream), Data: data})
		w.WriteHeader(http.StatusNoContent)
	})
	return mux, nil
}
