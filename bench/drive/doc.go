// Package drive drives a Freshet server as its users do, for the tests of faults and for
// the benchmarks: [Start] runs the server as a process of its own, [Open] and
// [EventSource] read its streams, each over a TCP connection of its own and with one
// goroutine, and [Books] tells what should have arrived from what did.
//
// Nothing here asserts. Every wait ends with its context.
package drive
