package ssetest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"freshet/ssetest"

	"github.com/gin-gonic/gin"
)

// countdown is a handler to test.
func countdown(c *gin.Context) {
	n := 3
	c.Stream(func(io.Writer) bool {
		c.SSEvent("count", n)
		n--
		return n > 0
	})
}

func Example() {
	test := func(t testing.TB) { // in your tests: func TestCountdown(t *testing.T)
		router := gin.New()
		router.GET("/countdown", countdown)

		stream := ssetest.Get(t, router, "/countdown")
		ssetest.Expect(t, stream).Event("count", "3").Event("count", "2").Within(time.Second)
		ssetest.Expect(t, stream).Event("count", "1").End().Within(time.Second)
	}
	fmt.Println("failures:", run(test))
	// Output: failures: []
}

// A handler of Gin can be tested without a router.
func ExampleOpen() {
	test := func(t testing.TB) {
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _ := gin.CreateTestContext(w)
			c.Request = r
			countdown(c)
		})
		stream := ssetest.Open(t, handler, httptest.NewRequest(http.MethodGet, "/countdown", nil))
		fmt.Println(stream.NextEvent().Data, stream.NextEvent().Data)
	}
	fmt.Println("failures:", run(test))
	// Output:
	// 3 2
	// failures: []
}

// A failure says what was expected, what came, and what had come before.
func ExampleExpect() {
	test := func(t testing.TB) {
		router := gin.New()
		router.GET("/countdown", countdown)

		stream := ssetest.Get(t, router, "/countdown")
		ssetest.Expect(t, stream).Event("count", "3").Event("count", "1").Within(time.Second)
	}
	for _, failure := range run(test) {
		fmt.Println(failure)
	}
	// Output: want event count "1", but got event count "2"; read before: count "3"
}

// A running server is tested in the same way. Resume reconnects with the last event ID.
func ExampleStream_Resume() {
	server := httptest.NewServer(http.HandlerFunc(numbers))
	defer server.Close()
	test := func(t testing.TB) {
		stream := ssetest.Dial(t, server.URL)
		ssetest.Expect(t, stream).Event("message", "1").Event("message", "2").Within(time.Minute)

		resumed := stream.Resume()
		ssetest.Expect(t, resumed).Event("message", "3").Event("message", "4").Within(time.Minute)
	}
	fmt.Println("failures:", run(test))
	// Output: failures: []
}

// A test of any endpoint names what it offers. The other checks are skipped.
func ExampleConform() {
	_ = func(t *testing.T) { // in your tests: func TestNewsConform(t *testing.T)
		news := newBoard("") // your handler
		server := httptest.NewServer(news)
		defer server.Close()
		ssetest.Conform(t, server.URL, ssetest.Conformance{
			Publish: func(ctx context.Context, data string) error { return news.publish(ctx, data) },
			Type:    "news",
			Resumes: true, // after the header Last-Event-ID
		})
	}
}

// Check returns the results, for programs. This endpoint writes no space after the colon of data.
func ExampleCheck() {
	news := newBoard("no space")
	server := httptest.NewServer(news)
	defer server.Close()
	passed := 0
	for _, r := range ssetest.Check(context.Background(), server.URL, ssetest.Conformance{Publish: news.publish, Type: "news"}) {
		switch r.Outcome {
		case ssetest.Pass:
			passed++
		case ssetest.Fail:
			fmt.Println("failed:", r.Check, "of", r.Section)
		}
	}
	fmt.Println("passed:", passed)
	// Output:
	// failed: leading-space of HTML 9.2.6
	// passed: 9
}
