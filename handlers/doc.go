// Package handlers serves Freshet over HTTP: the event stream, publishing, history, tickets,
// the dashboard, and pages for operators. It mounts on any Gin router with
// [Handlers.Register].
//
// Rules:
//
//   - Streams: a stream is open until its client leaves, its credentials expire, a write takes
//     nothing for half a minute, or [Handlers.Drain] ends it. An open stream gets events and
//     nothing else: no error text, no status.
//   - Publishing: the response is sent after the log has the event. The publish handlers never
//     call the hub.
//   - Access: the request's context carries an auth.Caller, which says what may be published
//     and read. Without middleware that authenticates, everybody may read everything and
//     nobody may publish.
//   - Errors: one table maps them to a status and JSON, {"error":{"code","message"}}. Errors
//     from elsewhere are a 500 with a fixed text.
//   - Request log: a handler adds to the request's record through the value that the
//     middleware left in the gin.Context under "access_log", if there is one.
//   - Ownership: [Handlers.Run] runs everything that outlives a request.
package handlers
