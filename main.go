// Freshet is an event server for browsers. A backend publishes with one HTTP POST; every
// browser that holds new EventSource('/event') gets the event, in order, with nothing
// lost across reconnects and restarts.
//
// Package app wires the server; this command only starts it.
package main

import (
	"os"

	"freshet/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
