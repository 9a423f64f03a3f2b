// Package ticket issues, verifies and revokes tickets: signed tokens that let a browser's EventSource, which sends no headers, read
// some topics by its URL alone.
//
// # Format
//
// A ticket is a compact JWS (RFC 7515, HS256) for the audience "freshet-ticket". It holds its ID, the subject of the token that
// created it, topics, the origin of the pages that may use it, and its expiry. The key is random, belongs to this server alone, and
// all nodes share it through the [Store].
//
// # Verifying and revoking
//
//   - [Tickets.Verify] uses memory alone: the key and the revocations that [Tickets.Run] keeps up to date. Until they are loaded it
//     waits up to five seconds, then returns [auth.ErrUnavailable]. A node that loses its NATS later uses what it has.
//   - A revocation is a key with a TTL in the Store, which every node watches.
//   - [Tickets.Revoke] revokes one ticket by its ID, which contains a tag keyed by the owner's subject.
//   - [Tickets.RevokeSubject] revokes all tickets of a subject that exist now. A ticket holds the revision of the Store at its issue,
//     and the revocation gets a later one: clocks that differ between nodes do not matter.
//   - Run reports revocations by calling its function end, which ends the open streams whose caller matches. A stream that opens
//     while a revocation arrives has to call [Tickets.Revoked] once end can find it.
//
// # Bounds
//
// A ticket has at most 4 KiB and lives at most 24 hours. One subject may issue 10 tickets a second (200 at once) and revoke one a
// minute (200 at once) on each node; operators have no such limit. The Store bounds the revocations, and a node drops them from memory
// when they expire. All methods are safe for concurrent use.
package ticket
