package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet/event"
	"freshet/eventlog"
)

// ErrClosed is the error of a closed [App].
var ErrClosed = errors.New("freshet is closed")

// ServeHTTP serves all routes. Under another path than /, take the prefix away first: http.StripPrefix("/live", app).
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.serve(a.router, w, r) }

func (a *App) serve(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	if !a.use() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, ErrClosed.Error(), http.StatusServiceUnavailable)
		return
	}
	defer a.using.Done()
	handler.ServeHTTP(w, r)
}

// use counts a request or publish, until using.Done, unless the application is closed.
func (a *App) use() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.using.Add(1)
	}
	return !a.closed
}

// Message is an event to publish.
type Message struct {
	Topic string
	Type  string // empty: the topic
	// Data is the data as it is, if it is a string or []byte, which must be UTF-8. Any other value becomes JSON.
	Data any
	// Key makes a retry harmless: the topic stores a message with the same key only once in two minutes, and the retry gets its ID.
	Key string
	TTL time.Duration // how long the log keeps the event at most, rounded up to whole seconds; 0: as --retain and --retain-age say
}

// Publish is [App.PublishMessage] without a type and a key.
func (a *App) Publish(ctx context.Context, topic string, data any) (event.ID, error) {
	return a.PublishMessage(ctx, Message{Topic: topic, Data: data})
}

// PublishMessage stores an event and returns its ID. Access rules and publish rates do not apply.
//
// The error is an [*event.InvalidError] for a bad topic, type, data or TTL, [eventlog.ErrTooLarge] above --max-body, [eventlog.ErrEnded] for a topic that
// has ended, [eventlog.ErrFull] without space on the disk, [eventlog.ErrNoTTL] if the stream of --nats allows no TTL, [ErrClosed], or
// [eventlog.ErrUnavailable]: then the event may be stored, and a retry needs a key.
func (a *App) PublishMessage(ctx context.Context, m Message) (event.ID, error) {
	e, err := newEvent(m)
	if err != nil {
		return event.ID{}, err
	}
	if limit := int(a.cfg.MaxBody); len(e.Data()) > limit {
		return event.ID{}, fmt.Errorf("%w: %d bytes, and the limit is %d", eventlog.ErrTooLarge, len(e.Data()), limit)
	}
	if !a.use() {
		return event.ID{}, ErrClosed
	}
	defer a.using.Done()
	receipt := a.log.Append(ctx, eventlog.Entry{Event: e, Key: m.Key})
	return receipt.ID, receipt.Err
}

// End ends the topic: readers get its last event and stop. The error is [eventlog.ErrEnded] if it has ended already, or one of
// [App.PublishMessage].
func (a *App) End(ctx context.Context, topic string) (event.ID, error) {
	name, err := event.ParseTopic(topic)
	if err != nil {
		return event.ID{}, err
	}
	if !a.use() {
		return event.ID{}, ErrClosed
	}
	defer a.using.Done()
	receipt := a.log.End(ctx, name, "", event.TTL{})
	return receipt.ID, receipt.Err
}

func newEvent(m Message) (event.Event, error) {
	topic, err := event.ParseTopic(m.Topic)
	if err != nil {
		return event.Event{}, err
	}
	typ, err := event.ParseType(cmp.Or(m.Type, m.Topic))
	if err != nil {
		return event.Event{}, err
	}
	var text string
	switch data := m.Data.(type) {
	case string:
		text = data
	case []byte:
		text = string(data)
	default:
		encoded, err := json.Marshal(data)
		if err != nil {
			return event.Event{}, &event.InvalidError{Field: "data", Reason: "cannot become JSON: " + err.Error()}
		}
		text = string(encoded)
	}
	e, err := event.New(topic, typ, text)
	if err != nil || m.TTL == 0 {
		return e, err
	}
	ttl, err := event.NewTTL(m.TTL)
	return e.WithTTL(ttl), err
}

// Run serves at the address of the server, with TLS if the server has a TLSConfig. When ctx is done, or the application has ended by itself, it
// calls Shutdown. In any case the application is closed when Run returns. The error is nil after an orderly end.
func (a *App) Run(ctx context.Context, server *http.Server) error {
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ListenAndServeTLS("", "")
		} else {
			served <- server.ListenAndServe()
		}
	}()
	select {
	case err := <-served:
		return errors.Join(unlessClosed(err), a.Close())
	case <-ctx.Done():
	case <-a.Done():
	}
	return errors.Join(a.Shutdown(server), unlessClosed(<-served))
}

// Shutdown ends the application and its server in order: the open streams, spread over Config.Drain, so that each client reconnects at its own
// time; then the requests in progress, which have a second; then the log. http.Server.Shutdown alone would wait for streams, which do not end by
// themselves.
func (a *App) Shutdown(server *http.Server) error {
	a.drainStreams()
	return a.finish(server)
}

func (a *App) drainStreams() {
	a.logger.Info("draining", "for", a.cfg.Drain.String())
	a.drain(a.cfg.Drain)
}

// finish is the part of Shutdown after the drain.
func (a *App) finish(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		a.logger.Warn("requests are still open after the drain", "error", errors.Join(err, server.Close()))
	}
	return a.Close()
}

func (a *App) drain(span time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), span+drainGrace)
	defer cancel()
	if err := a.handlers.Drain(ctx, span); err != nil {
		a.logger.Warn("streams are still open after the drain", "error", err)
	}
}

// Done is closed when nothing runs behind the routes any more: because of Close, or because the log was replaced by another one. Then call Close,
// which says why.
func (a *App) Done() <-chan struct{} { return a.ended }

// Close ends the open streams at once, waits for requests and publishes in progress and closes the log. Meanwhile new ones are refused. Later calls
// return the same error.
func (a *App) Close() error {
	a.closeOnce.Do(func() {
		a.drain(0)
		a.end()
		<-a.ended
		a.mu.Lock()
		a.closed = true
		a.mu.Unlock()
		a.using.Wait()
		a.closeErr = errors.Join(a.runErr, a.log.Close())
	})
	return a.closeErr
}
