package client_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"freshet/client"
)

func Example() {
	url, end := someServer()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c, err := client.New(client.Config{URL: url, Token: "the publish token"})
	if err != nil {
		log.Print(err)
		return
	}
	id, err := c.Publish(ctx, client.Message{Topic: "orders.new", Data: "42"})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("published", id)

	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{"orders.>"}, Since: "all"}) {
		if err != nil {
			log.Print(err)
			return
		}
		if e.Gap != nil {
			log.Print("events are lost: ", e.Gap.Reason)
			continue
		}
		fmt.Println(e.Topic, e.Data)
		break // to go on later: LastEventID: e.ID
	}
	// Output:
	// published mq3x1-1
	// orders.new 42
}

// someServer stands for a Freshet server.
func someServer() (url string, end func()) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			write(w, `{"id":"mq3x1-1","topic":"orders.new"}`+"\n")
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		write(w, `{"id":"mq3x1-1","topic":"orders.new","type":"orders.new","data":"42"}`+"\n")
	}))
	return s.URL, s.Close
}

// The pieces of a language model become a topic that ends.
func ExampleClient_Answer() {
	model := func(context.Context) iter.Seq[string] { return slices.Values([]string{"The answer", " is 42."}) }
	write := func(ctx context.Context, c *client.Client) error {
		answer, err := c.Answer(ctx, "answers.17")
		if err != nil {
			return err
		}
		for piece := range model(answer.Stopped()) {
			if _, err := io.WriteString(answer, piece); err != nil {
				return err
			}
		}
		return answer.End()
	}
	c, err := client.New(client.Config{URL: "http://localhost:8080", Token: "the publish token"})
	if err == nil {
		err = write(context.Background(), c)
	}
	fmt.Println(err)
}
