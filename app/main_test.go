package app_test

import (
	"testing"

	"freshet/app/apptest"
)

func TestMain(m *testing.M) { apptest.Main(m) }
