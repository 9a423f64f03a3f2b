package e2e_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// top is the module's folder.
const top = ".."

// patience bounds every wait; with a server in order, a test takes a few seconds.
const patience = time.Minute

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
