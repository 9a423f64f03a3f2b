// Package middleware holds the Gin middleware that runs before and after each handler.
//
// # Order
//
// RequestID, Trace (if something is traced), Log, Recover, Secure, Hosts, CORS, Authenticate. Trace comes before Log, because a record has the ID of its trace. Log comes before Recover to record requests that panicked. Secure comes before
// the parts that refuse requests, so that refusals have its headers. Hosts comes before CORS, which trusts the Host of a request. CORS comes before Authenticate, so that a page can read why it
// was refused.
//
// # What handlers get
//
// Handlers do not import this package. In the [gin.Context], the key "request_id" holds the request ID, and the key "access_log" the
// request's record in the access log, with the methods
//
//	Add(attrs ...slog.Attr)                                // adds to the record
//	Detach() (finish func(bytes int, attrs ...slog.Attr))  // finish writes the record, after the handler has returned
//
// The caller is [auth.FromContext] of the request's context. A handler that varies its answer adds to the header Vary and does not
// set it.
//
// # What clients get
//
// Refusals are JSON, as all errors are: {"error":{"code","message"}}. No log record holds a payload or credentials. Text from a
// request is made printable and cut before it is logged.
package middleware
