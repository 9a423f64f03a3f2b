package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	"freshet/event"
)

// inEachFormat calls show with the media type of a format, and the line that ends an event there: an empty one, or any for NDJSON.
func inEachFormat(show func(accept, end string)) {
	for format := range event.Formats {
		end := ""
		if format == event.Frames {
			end = "\n"
		}
		show(format.ContentType(), end)
	}
}

// storeEvents publishes the events that some of the files show, and waits until streams get them.
func (w *wire) storeEvents() {
	w.t.Helper()
	w.publish("news", "hello")
	w.publish("orders.eu.paid", "two\r\nlines, \rthen an empty one:\n\n and a space")
	for _, typ := range []string{"order", "message"} {
		_, err := w.Publish(w.ctx, "orders.eu.new", typ, `{"id":17,"name":"<Zoë>"}`, "")
		must(w.t, err)
	}
	before := w.text.String()
	s := w.open("GET /event/>?since=all")
	s.read(5, "\n")
	s.close()
	w.rewind(before)
}

func TestWireOfStreams(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.storeEvents()
	w.section("A stream begins with its position. Then it sends stored events and new ones")
	s := w.open("GET /event?topic=news&topic=orders.>&since=all", "Accept", "text/event-stream")
	s.read(5, "\n")
	w.publish("news", "")
	s.read(1, "\n")
	s.close()
	w.section("A stream resumes after the last event ID")
	s = w.open("GET /event/orders.*.new?since=all", "Last-Event-ID", w.epoch+"3")
	s.read(2, "\n")
	s.close()
	w.section("The counter")
	s = w.open("GET /event/counter")
	s.read(4, "\n")
	s.close()
	w.section("NDJSON")
	s = w.open("GET /event/>?since=all", "Accept", "application/x-ndjson")
	s.read(6, "")
	s.close()
	s = w.open("GET /event/counter", "Accept", "application/x-ndjson")
	s.read(3, "")
	s.close()
	w.golden("streams")
}

// Heartbeats come at any time, so they have a server of their own.
func TestWireOfHeartbeats(t *testing.T) {
	t.Parallel()
	w := newWire(t, "--heartbeat", "10ms")
	inEachFormat(func(accept, end string) {
		s := w.open("GET /event/news", "Accept", accept)
		s.read(3, end)
		s.close()
	})
	w.golden("heartbeats")
}

func TestWireOfGaps(t *testing.T) {
	t.Parallel()
	w := newWire(t, "--retain-bytes", "400B")
	for _, data := range []string{"first", "second"} { // the log has space for one
		w.publish("news", data+strings.Repeat(".", 180))
	}
	w.restart()
	w.hide = append(w.hide, "mwrzeraj", "OTHER")
	inEachFormat(func(accept, end string) {
		for _, id := range []string{w.epoch + "0", "mwrzeraj-1842"} {
			s := w.open("GET /event/news", "Accept", accept, "Last-Event-ID", id)
			s.read(3, end)
			s.close()
		}
		for _, id := range []string{w.epoch + "99", "not an ID"} {
			s := w.open("GET /event/news", "Accept", accept, "Last-Event-ID", id)
			s.read(2, end)
			s.close()
		}
	})
	w.ask("GET /history?cursor="+w.epoch+"0", "")
	w.golden("gaps")
}

// The last frame of a stream says why it ends.
func TestWireOfEnds(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	operator := []string{"Authorization", "Bearer " + w.Token}
	inEachFormat(func(accept, end string) {
		w.section("An operator ends the stream. A server that stops sends the same")
		s := w.open("GET /event/news", "Accept", accept)
		s.read(1, end)
		w.body(w.send("DELETE", "/connections/"+s.id, "", operator...))
		s.rest()
		w.section("The ticket is revoked")
		ticket := w.ticket(`{"topics":["news"],"origin":"https://app.example"}`)
		s = w.open("GET /event/news?ticket="+ticket.Ticket, "Origin", "https://app.example", "Accept", accept)
		s.read(1, end)
		w.body(w.send("DELETE", "/ticket/"+ticket.ID, "", operator...))
		s.rest()
	})
	w.golden("ends")
}

func TestWireOfTopicsThatEnd(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	publisher := []string{"Authorization", "Bearer " + w.Token}
	w.section("A topic ends, once")
	w.ask("POST /event/job", "half", publisher...)
	w.ask("POST /event/job?end", "done", append(publisher, "Idempotency-Key", "job-17")...)
	w.ask("POST /event/job?end", "done", append(publisher, "Idempotency-Key", "job-17")...)
	w.ask("POST /event/job", "late", publisher...)
	w.section("Its readers get all of it, and then 204")
	inEachFormat(func(accept, _ string) { w.open("GET /event/job?since=all", "Accept", accept).rest() })
	w.ask("GET /event/job", "", "Last-Event-ID", w.epoch+"3")
	w.section("The topic is purged, and ends again")
	w.ask("DELETE /event/job", "", publisher...)
	w.ask("POST /event/job?end", "", publisher...)
	inEachFormat(func(accept, _ string) {
		w.open("GET /event/job", "Accept", accept, "Last-Event-ID", w.epoch+"3").rest()
	})
	w.golden("topic-ends")
}

// A browser stops for good at any status but 200, so a full server sends it a stream with one frame.
func TestWireOfAFullServer(t *testing.T) {
	t.Parallel()
	w := newWire(t, "--max-connections", "1")
	w.open("GET /event/news").read(1, "\n")
	w.rewind("")
	w.open("GET /event/news", "Accept", "text/event-stream").rest()
	w.open("GET /event/news", "Accept", "application/x-ndjson, text/event-stream").rest()
	w.ask("GET /event/news", "")
	w.golden("busy")
}

// The numbers of statistics differ in each run, so the file has only their names.
func TestWireOfStats(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.storeEvents()
	s := w.open("GET /event/stats")
	s.read(2, "\n")
	w.ask("GET /connections?limit=1", "", "Authorization", "Bearer "+w.Token)
	s.close()
	text := w.text.String()
	for _, v := range []struct{ value, name string }{
		{`":(null|[0-9][-+.e0-9]*)`, `":NUMBER`}, {`"((?:node_)?id)":"[^"]*"`, `"$1":"ID"`}, {`"state":"(parked|live)"`, `"state":"STATE"`},
	} {
		text = regexp.MustCompile(v.value).ReplaceAllString(text, v.name)
	}
	w.rewind(text)
	w.golden("stats")
}
