package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/ssetest"
)

// Freshet holds what it demands of others, with parked streams and without.
func TestFreshetConforms(t *testing.T) {
	t.Parallel()
	for _, park := range []string{"on", "off"} {
		t.Run("park "+park, func(t *testing.T) {
			t.Parallel()
			const origin = "https://app.example"
			s := apptest.Start(t, t.TempDir(), "", "--park", park, "--cors-origin", origin)
			full := apptest.Start(t, t.TempDir(), "", "--park", park, "--max-connections", "1")
			ssetest.Dial(t, full.URL+"/event/any").Next()
			ssetest.Conform(t, s.URL+"/event/conformance", ssetest.Conformance{
				Publish: func(ctx context.Context, data string) error {
					_, err := s.Publish(ctx, "conformance", "checked", data, "")
					return err
				},
				Type: "checked", Retry: true, Resumes: true, Heartbeat: 100 * time.Millisecond,
				Origin: origin, Preflight: true,
				Busy:    full.URL + "/event/any",
				Readers: func(ctx context.Context) (int, error) { return openStreams(ctx, s) },
			})
		})
	}
}

// openStreams is how many streams the server has open.
func openStreams(ctx context.Context, s *apptest.Server) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/connections", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+s.Token)
	response, err := s.HTTP.Do(r)
	if err != nil {
		return 0, err
	}
	var answer struct{ Total int }
	err = errors.Join(json.NewDecoder(response.Body).Decode(&answer), response.Body.Close())
	return answer.Total, err
}
