// Types of freshet.js. docs/client.md says what each promises.

/** The states of a stream, in words for a page. */
export type State = 'connecting' | 'live' | 'reconnecting' | 'resumed' | 'gap' | 'auth-expired' | 'closed';

/** What a gap is about. */
export interface Gap {
	/** The ID that was asked for. */
	requested: string;
	/** The first event that is kept, or that the queue holds. */
	first: string;
	/** The ID just before the first event that follows. */
	resumed: string;
	/** `overflow` is of a `for await` that was too slow; the others are the server's. */
	reason: 'epoch' | 'expired' | 'unknown' | 'overflow';
	/** How many events an overflow took. */
	events?: number;
}

/** What belongs to a state. */
export interface Detail {
	/** reconnecting: milliseconds from then to the next attempt. */
	wait?: number;
	/** reconnecting: when the next attempt is made, in milliseconds since 1970. */
	until?: number;
	/** resumed, gap: events that came since, until now or until no more were missed. */
	events?: number;
	gap?: Gap;
	/** reconnecting, closed by a refusal, auth-expired: why. */
	reason?: string;
	/** The HTTP status of a refusal. */
	status?: number;
}

export interface StateChange extends Detail {
	state: State;
}

/** Error events say more than those of EventSource. */
export interface StreamError extends Event {
	readonly reason: string;
	readonly status: number;
}

export class StreamEvent extends MessageEvent<string> {
	/** Empty for gap, drain and auth-expired. */
	readonly topic: string;
	/** Empty for what is not stored: counter and stats. */
	readonly id: string;
	/** When it was stored. */
	readonly time: Date | null;
	/** The data, parsed; a SyntaxError where it is no JSON. */
	json<T = unknown>(): T;
	/** Only the stream makes them, of a line of the server's. */
	private constructor();
}

type Secret = string | (() => string | Promise<string>);

export interface Options {
	/** Topics and patterns. None: all that may be read, and the counter. */
	topics?: readonly string[];
	/** Where to begin: an ID, `all`, `last`, `-20`, `10m`, a time. */
	since?: string;
	/** A ticket, or a function that fetches one; called again when the server does not take it any more. */
	ticket?: Secret;
	/** Goes into the header Authorization, or a function that fetches what does. */
	token?: Secret;
	/** Whom ticket or token stand for. Only streams of one identity are shared; with neither, it need not be given. */
	identity?: string;
	/** false: this tab reads for itself. */
	share?: boolean;
	/** The server's --heartbeat in milliseconds, 15000. */
	heartbeat?: number;
	/** Events that a `for await` may be behind, 1000. */
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

	/** The address that is read, but for the place and the credentials. */
	readonly url: string;
	/** false: a Freshet server allows other origins no cookies. */
	readonly withCredentials: false;
	readonly readyState: 0 | 1 | 2;
	readonly state: State;
	readonly detail: Readonly<Detail>;
	/** Everything up to here has been dispatched: what `since` takes, to go on later. */
	readonly lastEventId: string;
	/** Whether this tab reads for itself, for others too, or is handed events. */
	readonly role: 'own' | 'leader' | 'follower';

	/** By topic or pattern, or one of the stream's own events. Returns what takes fn off. */
	on<K extends keyof OwnEvents>(name: K, fn: (this: Stream, e: OwnEvents[K]) => unknown): () => void;
	on(topic: string, fn: (this: Stream, e: StreamEvent) => unknown): () => void;

	/** By type, as with EventSource. */
	addEventListener(type: 'open', fn: (this: Stream, e: Event) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: 'error', fn: (this: Stream, e: StreamError) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, fn: (this: Stream, e: StreamEvent) => unknown, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, fn: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
	removeEventListener(type: 'open', fn: (this: Stream, e: Event) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: 'error', fn: (this: Stream, e: StreamError) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, fn: (this: Stream, e: StreamEvent) => unknown, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, fn: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;

	close(): void;

	/** The events from now on, gaps among them. Ends with close, throws when the server refuses. */
	[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
}

export function connect(options?: Options & { url?: string | URL }): Stream;
export function connect(url: string | URL, options?: Options): Stream;

/** Whether the topic is of the pattern: `*` one token, a last `>` the rest. No pattern has counter and stats. */
export function matches(pattern: string, topic: string): boolean;
