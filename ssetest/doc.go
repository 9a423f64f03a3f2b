// Package ssetest tests event streams of any HTTP handler or server: your own Gin or net/http handler, or a running server.
// Of Freshet it needs only the packages event and doctor, which need nothing but the standard library.
//
//   - [Get] and [Open] run a handler, and read its stream while the handler writes it. They need no network, so they work
//     in fake time too (testing/synctest), and with Gin's c.Stream, which panics on an httptest.ResponseRecorder.
//   - [Dial] and [Do] read the stream of a running server, and do not work in fake time.
//   - [Expect] says which events must arrive, and when no more may. [Stream.Resume] reconnects as a browser does.
//   - [Conform] holds any endpoint to the standard of event streams. [Check] does the same and returns the results.
//
// Time: a [Stream] is read only when the test reads it. [Expectation.Within] bounds a wait; Next, Rest and similar methods wait
// without a limit. As in a browser, bytes arrive when the handler flushes them or returns.
//
// Ownership: a Stream belongs to one goroutine. The end of the test closes streams that are still open, and waits for
// their handlers.
package ssetest
