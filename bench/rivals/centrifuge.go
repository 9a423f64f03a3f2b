//go:build linux

package rivals

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// newCentrifuge is Centrifuge's handler for event streams. It expects a connect command of its own client in the query, and sends events
// in JSON of its own. Each reader is subscribed to one channel by the server.
func newCentrifuge() (http.Handler, error) {
	const channel = "bench"
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	stream := centrifuge.NewSSEHandler(node, centrifuge.SSEConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: time.Second, PongTimeout: -1}, // an EventSource sends no pongs
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /event", func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = "cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D"
		stream.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text, err := json.Marshal(string(data))
		if err == nil {
			_, err = node.Publish(channel, text)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux, nil
}
