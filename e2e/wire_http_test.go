package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"freshet/auth"
	"freshet/event"
)

const wireSecret = "a-secret-of-at-least-32-bytes-for-the-wire"

// wireTicket is the answer to POST /ticket.
type wireTicket struct{ Ticket, ID string }

// ticket gets a ticket, and names what differs in each run.
func (w *wire) ticket(request string) (ticket wireTicket) {
	w.t.Helper()
	must(w.t, json.Unmarshal([]byte(w.body(w.send("POST", "/ticket", request, "Authorization", "Bearer "+w.Token))), &ticket))
	w.name(ticket)
	return ticket
}

func (w *wire) name(ticket wireTicket) {
	w.hide = append(w.hide, ticket.Ticket, "TICKET", ticket.ID, "ID")
}

func TestWireOfPublishing(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	publisher := []string{"Authorization", "Bearer " + w.Token}
	w.ask("POST /event/news", "hello", publisher...)
	w.ask("POST /event/orders.eu?type=order", `{"id":17}`, publisher...)
	w.ask("POST /event", `{"topic":"news","type":"alert","data":{"level": 3}}`, publisher...)
	w.section("Many events")
	w.ask("POST /event", `{"topic":"news","data":"one"}`+"\n"+`{"topic":"a b","data":"two"}`+"\nthree\n", append(publisher, "Content-Type", "application/x-ndjson")...)
	w.section("The same event again")
	for range 2 {
		w.ask("POST /event/orders.eu", "paid", append(publisher, "Idempotency-Key", "order-17")...)
	}
	w.section("Lines that are stored as they arrive")
	lines := append(publisher, "Content-Type", "application/x-ndjson", "Idempotency-Key", "answer-17")
	w.ask("POST /event/answers.17?join=text", `"The answer"`+"\n"+`" is 42."`, lines...)
	w.ask("POST /event/answers.17?join=text&line=2", `" is 42."`+"\nnot JSON", lines...)
	w.section("What was stored")
	w.ask("GET /history", "")
	w.ask("GET /history?topic=news&since=last&limit=1", "")
	w.ask("GET /history?topic=orders.*&limit=1", "", "Accept", "application/x-ndjson")
	w.golden("publish")
}

func TestWireOfTickets(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.section("A ticket for a page")
	var ticket wireTicket
	must(t, json.Unmarshal([]byte(w.ask("POST /ticket", `{"topics":["orders.*"],"origin":"https://app.example","lifetime":"10m"}`, "Authorization", "Bearer "+w.Token)), &ticket))
	w.name(ticket)
	w.ask("GET /history?ticket="+ticket.Ticket, "", "Origin", "https://app.example")
	w.ask("DELETE /ticket/"+ticket.ID, "", "Authorization", "Bearer "+w.Token)
	w.ask("GET /history?ticket="+ticket.Ticket, "", "Origin", "https://app.example")
	w.ask("DELETE /ticket?subject=alice", "", "Authorization", "Bearer "+w.Token)
	w.golden("tickets")
}

func TestWireOfOtherRoutes(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.ask("GET /livez", "", "X-Request-Id", "my-request")
	w.ask("GET /readyz", "")
	w.section("Pages of other origins")
	w.ask("OPTIONS /event/news", "", "Origin", "https://app.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "last-event-id")
	w.ask("GET /history", "", "Origin", "https://app.example")
	w.section("Files, without their text")
	for _, path := range []string{"/", "/assets/freshet.js"} {
		must(t, w.begin("GET "+path, "").Body.Close())
	}
	w.golden("routes")
}

// Each error that needs no fault. docs/http-api.md has the codes of all; TestEveryErrorIsDocumented holds them.
func TestWireOfErrors(t *testing.T) {
	t.Parallel()
	w := newWire(t, "--jwt-secret", wireSecret, "--publish-rate", "1", "--max-topics", "3", "--max-connections-per-address", "1", "--cors-origin", "https://app.example")
	reader, err := auth.Sign(wireSecret, auth.Grant{Subject: "alice", Subscribe: event.Patterns{event.All}, Expires: time.Now().Add(time.Hour)})
	must(t, err)
	w.hide = append(w.hide, reader, "READER", "\xff", `\xff`, strings.Repeat("x", 301), "301 BYTES")
	publisher := []string{"Authorization", "Bearer " + w.Token}
	lines := append(publisher, "Content-Type", "application/x-ndjson")
	for _, c := range []struct {
		request, body string
		headers       []string
	}{
		{"GET /event?topics=news", "", nil},
		{"GET /history?topic=a&topic=b&since=all&since=last", "", nil},
		{"POST /event", "not JSON", publisher},
		{"POST /event/a..b", "x", publisher},
		{"GET /event?topic=a&topic=b&topic=c&topic=d", "", nil},
		{"POST /event/news?type=gap", "x", publisher},
		{"POST /event/news", "\xff", publisher},
		{"POST /event/news", "x", append(publisher, "Idempotency-Key", "é")},
		{"GET /event?since=soon", "", nil},
		{"GET /history?limit=0", "", nil},
		{"POST /ticket", `{"topics":["a","b","c","d"],"origin":"https://app.example"}`, publisher},
		{"POST /ticket", `{"topics":["a"]}`, publisher},
		{"POST /ticket", `{"origin":"https://app.example","lifetime":"8d"}`, publisher},
		{"DELETE /ticket?subject=", "", publisher},
		{"DELETE /ticket", "", publisher},
		{"POST /event/news", "x", nil},
		{"POST /event/news", "x", []string{"Authorization", "Bearer wrong"}},
		{"POST /event/news", "x", []string{"Authorization", "Bearer " + reader}},
		{"POST /event/news", "x", append(publisher, "Origin", "https://other.example")},
		{"GET /nowhere", "", nil},
		{"DELETE /ticket/none", "", publisher},
		{"DELETE /connections/none", "", publisher},
		{"GET /connections?node=none", "", publisher},
		{"GET /connections", "", nil},
		{"PUT /event/news", "x", nil},
		{"POST /event/news", strings.Repeat("x", 301), publisher},
		{"POST /event", strings.Repeat(`{"topic":"a","data":1}`+"\n", 11), lines},
		{"GET /history", "", []string{"Host", "other.example"}},
	} {
		w.ask(c.request, c.body, c.headers...)
	}
	w.section("Limits")
	until := func(code, request string, headers func() []string) {
		for body := ""; !strings.Contains(body, code); {
			before := w.text.String()
			if body = w.ask(request, "", headers()...); !strings.Contains(body, code) {
				w.rewind(before)
			}
		}
	}
	until("rate_limited", "POST /event/news", func() []string { return publisher })
	wrong := "wrong"
	until("too_many_failures", "GET /history", func() []string { // each wrong token counts once
		wrong += "-"
		return []string{"Authorization", "Bearer " + wrong}
	})
	w.hide = append(w.hide, wrong, "WRONG")
	before := w.text.String()
	w.open("GET /event/news").read(1, "\n")
	w.rewind(before)
	w.ask("GET /event/news", "")
	w.golden("errors")
}
