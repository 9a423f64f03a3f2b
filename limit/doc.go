// Package limit limits what each client may do.
//
// [Rate] limits how often a client does something, [Concurrency] how many it has at once. Both count by a key, for example the client's
// [Network] or the subject of its token. No method blocks: Rate says how long to wait. [Log] limits
// the log lines that clients can cause. All methods are safe for concurrent use.
//
// Memory is bounded. A Concurrency holds only the keys in use. A Rate removes keys whose bucket is full again, and holds at most 10,000.
// If more are active at once, it removes random ones, which then start with a full bucket.
package limit
