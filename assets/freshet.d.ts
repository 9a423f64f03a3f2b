// Types of freshet.js. docs/client.md describes them.

/** The states of a stream, in words for a page. */
export type State = 'connecting' | 'live' | 'reconnecting' | 'resumed' | 'gap' | 'auth-expired' | 'closed';

/** The data of a gap. */
export interface Gap {
	/** The ID from which the stream should have resumed. */
	requested: string;
	/** The first event that the log or the queue still has. */
	first: string;
	/** The ID just before the first event that follows. */
	resumed: string;
	/** `overflow`: a `for await` was too slow. The others are the server's. */
	reason: 'epoch' | 'expired' | 'unknown' | 'overflow';
	/** How many events an overflow dropped. */
	events?: number;
}

/** More about a state. */
export interface Detail {
	/** reconnecting: milliseconds until the next attempt, when the state began. */
	wait?: number;
	/** reconnecting: the time of the next attempt, in milliseconds since 1970. */
	until?: number;
	/** resumed, gap: how many missed events have come since. */
	events?: number;
	gap?: Gap;
	/** reconnecting, auth-expired, closed by the server: the reason. */
	reason?: string;
	/** reconnecting: the error code of a server that accepts no streams for now, such as `full`. */
	busy?: string;
	/** The HTTP status of a refusal. */
	status?: number;
}

export interface StateChange extends Detail {
	state: State;
}

/** Error events have a reason, unlike those of EventSource. */
export interface StreamError extends Event {
	readonly reason: string;
	readonly status: number;
}

export class StreamEvent extends MessageEvent<string> {
	/** Empty for gap, drain and auth-expired. */
	readonly topic: string;
	/** Empty for counter and stats, which are not stored. */
	readonly id: string;
	/** The time at which the event was stored. */
	readonly time: Date | null;
	/** The parsed data. Throws a SyntaxError if it is not JSON. */
	json<T = unknown>(): T;
	/** Only a stream makes events. */
	private constructor();
}

type Secret = string | (() => string | Promise<string>);

export interface Options {
	/** Topics and patterns. None: all topics that may be read, and the counter. */
	topics?: readonly string[];
	/** Where to begin: an ID, `all`, `last`, `-20`, `10m`, a time. */
	since?: string;
	/** A ticket, or a function that fetches one. It is called again before the ticket expires, and if the server refuses it. */
	ticket?: Secret;
	/** A token for the header Authorization, or a function that fetches one, as for ticket. */
	token?: Secret;
	/** Who the ticket or token belongs to. Only streams with the same identity are shared. Not needed without ticket and token. */
	identity?: string;
	/** false: this tab has its own connection. */
	share?: boolean;
	/** The server's --heartbeat in milliseconds, 15000. */
	heartbeat?: number;
	/** How many events wait for a slow `for await`, 1000. */
	queue?: number;
}

interface OwnEvents {
	state: StateChange;
	open: Event;
	error: StreamError;
	gap: StreamEvent;
	drain: StreamEvent;
	'auth-expired': StreamEvent;
}

export class Stream extends EventTarget implements AsyncIterable<StreamEvent> {
	static readonly CONNECTING: 0;
	static readonly OPEN: 1;
	static readonly CLOSED: 2;
	readonly CONNECTING: 0;
	readonly OPEN: 1;
	readonly CLOSED: 2;

	constructor(url?: string | URL, options?: Options);

	onopen: ((this: Stream, e: Event) => unknown) | null;
	onmessage: ((this: Stream, e: StreamEvent) => unknown) | null;
	onerror: ((this: Stream, e: StreamError) => unknown) | null;

	/** The URL of the stream, without position and credentials. */
	readonly url: string;
	/** false: a Freshet server accepts no cookies from other origins. */
	readonly withCredentials: false;
	readonly readyState: 0 | 1 | 2;
	readonly state: State;
	readonly detail: Readonly<Detail>;
	/** All events up to this ID have been dispatched. Pass it to `since` to continue later. */
	readonly lastEventId: string;
	/** Whether this tab reads for itself, for other tabs too, or gets its events from the leader. */
	readonly role: 'own' | 'leader' | 'follower';

	/** By topic, pattern, or the name of one of the stream's own events. Returns a function that removes fn. */
	on<K extends keyof OwnEvents>(name: K, fn: (this: Stream, e: OwnEvents[K]) => unknown): () => void;
	on(topic: string, fn: (this: Stream, e: StreamEvent) => unknown): () => void;

	/** By type, like EventSource. */
	addEventListener(type: 'open', fn: (this: Stream, e: Event) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: 'error', fn: (this: Stream, e: StreamError) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, fn: (this: Stream, e: StreamEvent) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, fn: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
	removeEventListener(type: 'open', fn: (this: Stream, e: Event) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: 'error', fn: (this: Stream, e: StreamError) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, fn: (this: Stream, e: StreamEvent) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, fn: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;

	close(): void;

	/** All further events, and gaps. Ends after close, and throws if the server refuses the stream. */
	[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
}

export function connect(options?: Options & { url?: string | URL }): Stream;
export function connect(url: string | URL, options?: Options): Stream;

/** Whether the pattern matches the topic: `*` is one token, a last `>` is one or more. No pattern matches counter and stats. */
export function matches(pattern: string, topic: string): boolean;
