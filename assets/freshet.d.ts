// Types of freshet.js. docs/client.md describes the module.

export {}; // only the declarations with the word export are exported

/** The states of a stream, in words for a page. */
export type State =
	/** The stream opens for the first time, or after the browser froze the page. */
	| 'connecting'
	/** Events come as they are published. */
	| 'live'
	/** The connection is lost, and the stream waits for the next attempt. */
	| 'reconnecting'
	/** The connection is back, and no event is missing. Becomes `live` after five seconds. */
	| 'resumed'
	/** Events are missing. Becomes `live` after five seconds. */
	| 'gap'
	/** The ticket or token has expired, and the stream fetches another. */
	| 'auth-expired'
	/** `close` was called, or the server refuses the stream. Final. */
	| 'closed';

/** The data of the event `gap`. */
export interface Gap {
	/** The ID after which the stream should have continued. Empty if a topic was purged. */
	requested: string;
	/** The ID of the first event that the log still has. In an overflow: of the first event that still waits for the loop. */
	first: string;
	/** The ID just before the first event that follows. */
	resumed: string;
	/** `overflow`: a `for await` loop was too slow. The other reasons are the server's: the log has another epoch, has deleted the events, or never had the ID, or a publisher has purged the topic. */
	reason: 'epoch' | 'expired' | 'unknown' | 'purged' | 'overflow';
	/** `purged`: the topic. No other topic has a gap. */
	topic?: string;
	/** The number of events that an overflow dropped. */
	events?: number;
}

/** More about a state. */
export interface Detail {
	/** `reconnecting`: milliseconds from the start of this state to the next attempt. */
	wait?: number;
	/** `reconnecting`: the time of the next attempt, in milliseconds since 1970. */
	until?: number;
	/** `resumed`, `gap`: the number of missed events that have come since. */
	events?: number;
	/** `gap`: which events are missing, and why. */
	gap?: Gap;
	/** `reconnecting`, `auth-expired`, and `closed` by the server: the reason. */
	reason?: string;
	/** `reconnecting`: the error code of a server that opens no streams now, such as `full`. */
	busy?: string;
	/** `reconnecting`, `closed`: the HTTP status of the refusal. */
	status?: number;
}

/** What listeners of `state` get: the state and its detail. */
export interface StateChange extends Detail {
	/** The new state. */
	state: State;
}

/** An event `error`. Unlike the error of an EventSource, it has a reason. */
export interface StreamError extends Event {
	/** Why the connection is lost, or the stream refused. */
	readonly reason: string;
	/** The HTTP status of a refusal, or 0. */
	readonly status: number;
}

/** An event of a stream. Its `type`, `data`, `lastEventId` and `origin` are those of an EventSource's event. */
export class StreamEvent extends MessageEvent<string> {
	/** The topic. Empty for `gap`, `drain` and `auth-expired`. */
	readonly topic: string;
	/** The event ID. Empty for `counter` and `stats`, which are not stored. */
	readonly id: string;
	/** The time at which the event was stored. */
	readonly time: Date | null;
	/** Parses the data. Throws a SyntaxError if it is not JSON. */
	json<T = unknown>(): T;
	/** Only a stream makes events. */
	private constructor();
}

/** A ticket or token, or a function that fetches one. */
export type Credential = string | (() => string | Promise<string>);

/** The options of a stream. */
export interface Options {
	/** Topics and patterns to read: `*` is one segment, a final `>` one or more. Default: all topics that may be read, and `counter`. */
	topics?: readonly string[];
	/** Where to begin: an ID, `all`, `last`, `-20`, `10m` or a time. Default: now. */
	since?: string;
	/** Joins the data of events of one topic and type that the server sends together: as one text, or with a line break in between. Default: they stay apart. */
	merge?: 'text' | 'lines';
	/** A ticket, or a function that fetches one. The stream calls it again before the ticket expires, and after the server refused it. */
	ticket?: Credential;
	/** A token for the header Authorization, or a function that fetches one, as for `ticket`. */
	token?: Credential;
	/** Who the ticket or token belongs to, such as a user ID. Tabs share a stream only with the same identity. Default: no sharing with a ticket or token. */
	identity?: string;
	/** false: this tab has a connection of its own. Default: true. */
	share?: boolean;
	/** The server's `--heartbeat` in milliseconds. Default: 15000. */
	heartbeat?: number;
	/** How many events wait for a slow `for await` loop. Default: 1000. */
	queue?: number;
}

/** The events of the stream itself, by the names that `on` takes. */
export interface StreamEvents {
	/** The state has changed. */
	state: StateChange;
	/** The stream is open, for the first time or again. */
	open: Event;
	/** The connection is lost, or the server refuses the stream. */
	error: StreamError;
	/** Events are missing before the next one. `json<Gap>()` says which. */
	gap: StreamEvent;
	/** The server shuts down. The stream reconnects. */
	drain: StreamEvent;
	/** The ticket or token has expired. The stream fetches another, or closes. */
	'auth-expired': StreamEvent;
}

/** A stream of events, with the interface of an EventSource and more. */
export class Stream extends EventTarget implements AsyncIterable<StreamEvent> {
	/** The value of `readyState` while the stream connects or reconnects. */
	static readonly CONNECTING: 0;
	/** The value of `readyState` while the stream is open. */
	static readonly OPEN: 1;
	/** The value of `readyState` of a closed stream. */
	static readonly CLOSED: 2;
	/** As Stream.CONNECTING. */
	readonly CONNECTING: 0;
	/** As Stream.OPEN. */
	readonly OPEN: 1;
	/** As Stream.CLOSED. */
	readonly CLOSED: 2;

	/**
	 * Opens a stream, as `connect` does.
	 *
	 * @param url Default: `/event` of the server that the module came from.
	 * @throws TypeError without a URL, if the module did not come from a Freshet server.
	 */
	constructor(url?: string | URL, options?: Options);

	/** Called for the event `open`. */
	onopen: ((this: Stream, e: Event) => unknown) | null;
	/** Called for events of the type `message` only, as by an EventSource. */
	onmessage: ((this: Stream, e: StreamEvent) => unknown) | null;
	/** Called for the event `error`. */
	onerror: ((this: Stream, e: StreamError) => unknown) | null;

	/** The URL of the stream, without position and credentials. */
	readonly url: string;
	/** Always false: a Freshet server accepts no cookies from other origins. */
	readonly withCredentials: false;
	/** The state as the number that an EventSource has: CONNECTING, OPEN or CLOSED. */
	readonly readyState: 0 | 1 | 2;
	/** The ID of the open stream in the server's `GET /connections`. Empty on a page of another origin. */
	readonly id: string;
	/** The state in words. */
	readonly state: State;
	/** More about the state. */
	readonly detail: Readonly<Detail>;
	/** All events up to this ID have been dispatched. Pass it to `since` to continue later. */
	readonly lastEventId: string;
	/** Whether this tab reads for itself, for other tabs too, or gets its events from the leader. */
	readonly role: 'own' | 'leader' | 'follower';

	/** Calls fn for events by their topic, a pattern, or the name of an event of the stream itself. Returns a function that removes fn. */
	on<K extends keyof StreamEvents>(name: K, fn: (this: Stream, e: StreamEvents[K]) => unknown): () => void;
	on(topic: string, fn: (this: Stream, e: StreamEvent) => unknown): () => void;

	/** Adds a listener for events of a type, as to an EventSource. */
	addEventListener(type: 'open', fn: (this: Stream, e: Event) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: 'error', fn: (this: Stream, e: StreamError) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, fn: (this: Stream, e: StreamEvent) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, fn: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
	/** Removes a listener that addEventListener has added. */
	removeEventListener(type: 'open', fn: (this: Stream, e: Event) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: 'error', fn: (this: Stream, e: StreamError) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, fn: (this: Stream, e: StreamEvent) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, fn: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;

	/** Closes the stream for good. */
	close(): void;
	/** Sends the next request now, if the stream waits for it. */
	reconnect(): void;

	/** Gives all further events, and gaps. Ends after `close`, and throws if the server refuses the stream. */
	[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
}

/**
 * Opens a stream.
 *
 * @param url Default: `/event` of the server that the module came from.
 * @throws TypeError without a URL, if the module did not come from a Freshet server.
 */
export function connect(url: string | URL, options?: Options): Stream;
export function connect(options?: Options & { url?: string | URL }): Stream;

/** A text that is published piece by piece, until its topic ends. A page reads it once: in a loop, or as a ReadableStream. */
export interface Answer {
	/** The text so far. */
	readonly text: string;
	/** Gives the pieces: first what exists, then what comes. Ends with the topic or after `close`. Throws if the server refuses to give the answer, or its beginning is gone. */
	[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined>;
	/** The pieces as a ReadableStream, as for a loop. */
	readonly readable: ReadableStream<string>;
	/** Asks the program that writes the answer to end it: publishes to the topic TOPIC.stop, with `stopTicket` or `token`. */
	stop(): Promise<void>;
	/** Stops reading. The answer itself goes on. */
	close(): void;
}

/** Options of `answer`. */
export interface AnswerOptions extends Omit<Options, 'topics' | 'since'> {
	/** `lines`: the answer was published with `join=lines`, and each piece is one or more whole lines. Default: `text`. */
	merge?: 'text' | 'lines';
	/** The URL of the server's `/event`. Default: of the server that the module came from. */
	url?: string | URL;
	/** A ticket that may publish to TOPIC.stop, or a function that fetches one, for `stop`. */
	stopTicket?: Credential;
}

/**
 * Reads an answer from its beginning, also after a reload.
 */
export function answer(topic: string, options?: AnswerOptions): Answer;

/** Whether the pattern matches the topic: `*` is one segment, a final `>` one or more. No pattern matches `counter` and `stats`. */
export function matches(pattern: string, topic: string): boolean;
