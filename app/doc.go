// Package app is the whole server: it wires log, hub, handlers and router in the order in
// which an event passes them, and serves them.
//
//   - [Main] is the program: it picks the command, parses its flags and returns an exit code.
//   - [Serve] runs a server with its listeners until its context ends, then drains it.
//   - [Open] starts an [App] without listeners: a handler for programs that bring their own server.
//
// Serve returns after every goroutine that it started has ended.
package app
