// Package middleware is what a request passes before and after its handler.
//
// The order is RequestID, Log, Recover, Secure, CORS, Authenticate. Log is outside Recover so that it also records a request that
// panicked, Secure before all that refuse so that refusals carry its headers too, and CORS before Authenticate so that a page can
// read why it was refused.
//
// Handlers need nothing of this package: the request ID is under the key "request_id" of the [gin.Context], the caller is
// [auth.FromContext] of the request's context, and a handler adds to its access-log record with c.Set("log", []slog.Attr{…}).
// A handler that varies its answer adds to the header Vary and does not set it. Refusals from here are JSON, as all errors are:
// {"error":{"code","message"}}. No record holds a payload or a credential, and what strangers send is made printable and bounded.
package middleware
