package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"freshet/app/apptest"

	"github.com/gin-gonic/gin"
)

// top is the module's folder.
const top = ".."

// patience bounds every wait. If nothing is broken, a test takes a few seconds.
const patience = time.Minute

func TestMain(m *testing.M) {
	serveNATSIfCommand()
	apptest.ServeIfCommand()
	gin.SetMode(gin.TestMode)
	// Most tests wait for a browser or a server, so more of them can run than there are processors. The command line can set
	// another number.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := sharedBrowser.End(); err != nil {
		fmt.Fprintln(os.Stderr, "end the browser:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
