package cloudevents

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// What the SDK sends in each mode becomes an event of its type, with its data. The same CloudEvent in another mode is a repetition.
func TestSDK(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := apptest.Start(t, t.TempDir(), "", "--cloudevents")
	url := server.URL + "/event/orders"
	newEvent := func(id string) cloudevents.Event {
		e := cloudevents.NewEvent()
		e.SetID(id)
		e.SetSource("/shop")
		e.SetType("com.example.paid")
		e.SetSubject("100 %")
		e.SetExtension("tenant", "eu")
		must(t, e.SetData(cloudevents.ApplicationJSON, map[string]any{"order": id}))
		return e
	}
	for _, id := range []string{"binary", "both"} {
		must(t, send(cloudevents.WithEncodingBinary(ctx), url, server.Token, newEvent(id)))
	}
	for _, id := range []string{"both", "structured"} {
		must(t, send(cloudevents.WithEncodingStructured(ctx), url, server.Token, newEvent(id)))
	}
	text := newEvent("text")
	must(t, text.SetData(cloudevents.TextPlain, "two\nlines"))
	must(t, send(cloudevents.WithEncodingStructured(ctx), url, server.Token, text))

	r, err := cehttp.NewHTTPRequestFromEvents(ctx, url, []cloudevents.Event{newEvent("both"), newEvent("batch")})
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+server.Token)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusOK {
		t.Errorf("a batch: %s", response.Status)
	}

	bad := newEvent("bad")
	bad.SetType("gap")
	if err := send(ctx, url, server.Token, bad); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a reserved type: %v", err)
	}

	_, err = server.Publish(ctx, "done", "", "", "")
	must(t, err)
	c, err := client.New(client.Config{URL: server.URL})
	must(t, err)
	var got []string
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{">"}, Since: "all"}) {
		must(t, err)
		if e.Topic == "done" {
			break
		}
		got = append(got, fmt.Sprintf("%s %s %q", e.Topic, e.Type, e.Data))
	}
	want := []string{
		`orders com.example.paid "{\"order\":\"binary\"}"`, `orders com.example.paid "{\"order\":\"both\"}"`, `orders com.example.paid "{\"order\":\"structured\"}"`,
		`orders com.example.paid "two\nlines"`, `orders com.example.paid "{\"order\":\"batch\"}"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
