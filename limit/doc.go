// Package limit counts what clients do and refuses what is too much.
//
// [Rate] limits how often, [Concurrency] how many at once. Both count by a key: a client's [Network], the subject of a token. Nothing
// here blocks: a refused caller learns how long to wait, or that it has to try again later. All methods are safe for concurrent use.
//
// Memory is bounded. A Concurrency holds the keys in use and no others. A Rate forgets keys that have their whole burst again, and
// never holds more than 10,000: with more at once, it forgets some, which then start with a whole burst.
package limit
