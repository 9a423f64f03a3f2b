package eventlog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Requests that take JetStream long leave it as much time as they took.
func TestATurnIsFollowedByAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{turn: make(chan struct{}, 1)}
		began := time.Now()
		end, err := l.takeTurn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := l.takeTurn(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a reader that has left: %v", err)
		}
		time.Sleep(3 * time.Second) // of fake time
		end()
		end, err = l.takeTurn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 6*time.Second {
			t.Errorf("the next turn came after %v", waited)
		}
		end()
	})
}
