package apptest

import (
	"os"
	"testing"
)

// Lacking ends a test that needs a missing program: the test is skipped, or fails if the environment variable is 1.
func Lacking(t testing.TB, variable, format string, args ...any) {
	t.Helper()
	if os.Getenv(variable) == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format+" ("+variable+"=1 makes this a failure)", args...)
}
