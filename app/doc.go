// Package app is the whole server: it wires log, hub, handlers and router in the order in
// which an event passes them, and serves them.
//
//   - [Main] is the program: it picks the command, parses its flags and returns an exit code.
//   - [Serve] runs a server with its listeners until its context ends, then drains it.
//   - [New] wires an [App] without listeners, for tests and for programs that bring their own.
//
// Run closes the App's log. Serve returns after every goroutine that it started has ended.
package app
