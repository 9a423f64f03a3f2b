package ssetest_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/gin-gonic/gin"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	m.Run()
}

// fakeT is a test whose failure is looked at.
type fakeT struct {
	testing.TB
	failures []string
	cleanups []func()
}

// run runs the test and returns its failures.
func run(test func(t testing.TB)) []string {
	t, done := &fakeT{}, make(chan struct{})
	go func() {
		defer close(done)
		defer t.finish()
		test(t)
	}()
	<-done
	return t.failures
}

func (t *fakeT) finish() {
	for _, cleanup := range slices.Backward(t.cleanups) {
		cleanup()
	}
}

func (t *fakeT) Helper()                   {}
func (t *fakeT) Failed() bool              { return len(t.failures) > 0 }
func (t *fakeT) Cleanup(cleanup func())    { t.cleanups = append(t.cleanups, cleanup) }
func (t *fakeT) Errorf(f string, a ...any) { t.failures = append(t.failures, fmt.Sprintf(f, a...)) }

func (t *fakeT) Fatalf(f string, a ...any) {
	t.Errorf(f, a...)
	runtime.Goexit()
}
