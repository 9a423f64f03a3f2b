// Package cloudevents sends CloudEvents to Freshet with the SDK for Go.
package cloudevents

import (
	"context"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

// send returns nil when the event is stored. It sends the event again if Freshet is away or overloaded, up to ten times.
func send(ctx context.Context, url, token string, e cloudevents.Event) error {
	c, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(url), cloudevents.WithHeader("Authorization", "Bearer "+token))
	if err != nil {
		return err
	}
	result := c.Send(cloudevents.ContextWithRetriesExponentialBackoff(ctx, 100*time.Millisecond, 10), e)
	if cloudevents.IsACK(result) {
		return nil
	}
	return result
}
