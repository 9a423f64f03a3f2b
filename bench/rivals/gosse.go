//go:build linux

package rivals

import (
	"io"
	"net/http"

	"github.com/tmaxmax/go-sse"
)

// kept is how many events are kept for readers that reconnect. They never miss more here.
const kept = 1000

// goSSE is go-sse with its own provider and replayer, which numbers the events from 0.
func goSSE() (http.Handler, error) {
	replayer, err := sse.NewFiniteReplayer(kept, true)
	if err != nil {
		return nil, err
	}
	server := &sse.Server{
		Provider: &sse.Joe{Replayer: replayer},
		OnSession: func(w http.ResponseWriter, _ *http.Request) ([]string, bool) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-cache")
			w.WriteHeader(http.StatusOK) // readers get the header at once, as with the other servers
			return nil, http.NewResponseController(w).Flush() == nil
		},
	}
	mux := http.NewServeMux()
	mux.Handle("GET /event", server)
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		e := &sse.Message{Type: sse.Type("bench")}
		e.AppendData(string(data))
		if err := server.Publish(e); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux, nil
}
