// Package relay follows event streams of other servers into the log.
//
//   - A relay appends each event of its source to one topic, in order, with the event's type.
//   - The log stores the source's event ID with the event. After a restart, a crash, or on another node, the relay resumes after the last ID
//     that the log has: it neither loses nor repeats an event. Events without an ID of their own are lost or repeated as the source does it.
//     Only the first event of a connection can be a repeat of the last stored one: others with an equal ID are different events.
//   - The nodes of one log share each relay: the node that holds its lease follows the source. Another node takes over within 30 seconds.
//   - A relay reconnects by itself. It stops for good, with one line in the log, when the source answers 204 or refuses it with a status 4xx
//     other than 408, 425 and 429.
//   - A gap of the source is stored as an event of type source-gap. A source that sends nothing for too long is asked again.
//   - An event that is larger than the limit, or whose type the log cannot store, is skipped and counted. Invalid UTF-8 becomes U+FFFD, as in
//     a browser.
package relay
