// What a page holds: a stream of events.

import { Connection } from './connection.js';
import { Credential } from './credential.js';
import { hasReached } from './cursor.js';
import { watchPage } from './page.js';
import { matches } from './pattern.js';
import { Share } from './share.js';

const recent = 5000; // ms: the age of events that show that a stream has caught up
const caughtUpAfter = 250; // ms without an event, after which a stream has caught up too
const stateShownFor = 5000; // ms until the states resumed and gap become live
const maxMissingCredentials = 3; // attempts in a row without one, after which another tab leads

const ownEvents = ['state', 'open', 'error', 'gap', 'drain', 'auth-expired'];

/** Both arguments are optional. */
export function connect(url, options) {
	return typeof url === 'object' && !(url instanceof URL) ? new Stream(url.url, url) : new Stream(url, options);
}

export class StreamEvent extends MessageEvent {
	constructor(line, lastEventId, origin) {
		super(line.type ?? 'message', { data: line.data, lastEventId, origin });
		this.topic = line.topic ?? '';
		this.id = line.id ?? '';
		this.time = line.time ? new Date(line.time) : null;
	}

	json() { return JSON.parse(this.data); }
}

/** Stream is a drop-in for EventSource. freshet.d.ts describes its public part. */
export class Stream extends EventTarget {
	static CONNECTING = 0;
	static OPEN = 1;
	static CLOSED = 2;
	CONNECTING = 0;
	OPEN = 1;
	CLOSED = 2;
	onopen = null;
	onmessage = null;
	onerror = null;

	#options;
	#url; // without the parameters that differ between tabs
	#topics;
	#since;
	#cursor = '';
	#state = 'connecting';
	#id = '';
	#detail = {};
	#connection = null; // null: another tab reads, or nothing is read
	#share = null;
	#cannotShare = false; // from now on
	#hasOpened = false;
	#credential;
	#missingCredentials = 0; // attempts in a row without one
	#countsMissed = false; // after a reconnection, until no more missed events come
	#timers = {};
	#listeners = new Set();
	#queues = new Set();
	#pageListeners = new AbortController();

	constructor(url = defaultURL(), options = {}) {
		super();
		this.#options = options;
		this.#url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
		const query = this.#url.searchParams;
		const [path, pathTopic] = /^(.*\/event)\/([^/]+)$/.exec(this.#url.pathname)?.slice(1) ?? [this.#url.pathname];
		this.#url.pathname = path;
		this.#url.hash = '';
		this.#topics = [...(options.topics ?? []), ...query.getAll('topic'), ...(pathTopic ? [decodeURIComponent(pathTopic)] : [])];
		this.#since = options.since ?? query.get('since') ?? '';
		this.#cursor = query.get('last_event_id') ?? '';
		for (const name of ['topic', 'since', 'last_event_id']) query.delete(name);
		if (options.merge) query.set('merge', options.merge);
		this.#credential = new Credential(options.ticket ?? options.token ?? '', () => this.#connection?.replace());

		// A page that the browser freezes, or keeps for the back button, closes everything. Later it resumes from its cursor.
		watchPage({ onSleep: () => this.#stop(), onWake: () => this.#wake() }, this.#pageListeners.signal);
		this.#startReading();
	}

	get url() { return this.#urlWith(this.#topics).href; }
	get withCredentials() { return false; }
	get readyState() { return { connecting: 0, reconnecting: 0, 'auth-expired': 0, closed: 2 }[this.#state] ?? 1; }
	get id() { return this.#id; }
	get state() { return this.#state; }
	get detail() { return this.#detail; }
	get lastEventId() { return this.#cursor; }
	get role() { return this.#share?.isLeader ? 'leader' : this.#connection || !this.#share ? 'own' : 'follower'; }

	on(name, fn) {
		const listener = { name, fn };
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	close() {
		if (this.#state === 'closed') return;
		this.#pageListeners.abort();
		this.#stop();
		this.#setState('closed');
	}

	/** Sends the next request now, if the stream waits for it. */
	reconnect() {
		if (this.#state !== 'reconnecting') return;
		this.#connection?.restart();
		this.#share?.wake();
	}

	/** Keeps a number of events for a slow loop. If more come it drops the oldest, and reports them with a gap. */
	async *[Symbol.asyncIterator]() {
		const queue = { events: [], lost: 0, resumed: '', wake() {} };
		let requested = '';
		this.#queues.add(queue);
		try {
			for (;;) {
				const { events, lost, resumed } = queue;
				if (lost) {
					queue.lost = 0;
					const data = JSON.stringify({ requested, first: events[0]?.id, resumed, reason: 'overflow', events: lost });
					yield new StreamEvent({ type: 'gap', id: resumed, data }, resumed, this.#url.origin);
				} else if (events.length) {
					const e = events.shift();
					requested = e.id || requested;
					yield e;
				} else if (this.#state !== 'closed') {
					await new Promise((wake) => { queue.wake = wake; });
				} else if (this.#detail.reason && this.#detail.status !== 204) {
					throw new Error(this.#detail.reason);
				} else return;
			}
		} finally {
			this.#queues.delete(queue);
		}
	}

	#enqueue(e) {
		for (const queue of this.#queues) {
			queue.events.push(e);
			if (queue.events.length > (this.#options.queue ?? 1000)) {
				queue.resumed = queue.events.shift().id || queue.resumed;
				queue.lost++;
			}
			queue.wake();
		}
	}

	#urlWith(topics) {
		const url = new URL(this.#url);
		for (const topic of topics) url.searchParams.append('topic', topic);
		return url;
	}

	#startReading() {
		this.#connection ??= new Connection({
			heartbeat: this.#options.heartbeat ?? 15_000,
			request: (signal) => this.#request(signal),
			onLines: (lines) => this.#receive(lines),
			onStatus: (status) => {
				if (status.state === 'live') this.#missingCredentials = 0;
				this.#applyStatus(status);
				if (!this.#share?.isLeader) return;
				this.#share.beat(status);
				if (this.#credential.isMissing && ++this.#missingCredentials % maxMissingCredentials === 0) this.#share.stepDown();
			},
			renewCredential: () => {
				this.#credential.discard();
				return this.#credential.isRenewable;
			},
			onRefused: (refusal) => this.#closeRefused(refusal),
		});
	}

	#stopReading() {
		this.#connection?.close();
		this.#connection = null;
		this.#credential.stopRenewing();
	}

	#stop() {
		this.#share?.close();
		this.#share = null;
		this.#stopReading();
		clearTimeout(this.#timers.share);
		this.#timers.share = 0;
	}

	/** Asks at once whether the server still sends, because the page may have slept. */
	#wake() {
		if (!this.#connection && !this.#share) {
			this.#setState('connecting');
			this.#startReading();
		}
		this.#connection?.wake();
		this.#share?.wake();
	}

	async #request(signal) {
		const url = this.#urlWith(this.#share?.isLeader ? this.#share.topics : this.#topics);
		const headers = { Accept: 'application/x-ndjson, text/event-stream' }; // needs no preflight
		if (this.#cursor) url.searchParams.set('last_event_id', this.#cursor);
		else if (this.#since) url.searchParams.set('since', this.#since);
		const credential = await rejectOnAbort(this.#credential.get(), signal);
		if (this.#options.ticket) url.searchParams.set('ticket', credential);
		else if (this.#options.token) headers.Authorization = `Bearer ${credential}`;
		return [url, headers];
	}

	#closeRefused(refusal) {
		this.#stopReading();
		// Perhaps the server refuses only what another tab asks for. Then each tab reads for itself.
		if (this.#share?.isLeader && this.#share.readsForOthers) return this.#share.dissolve();
		this.#pageListeners.abort();
		this.#stop();
		this.#setState('closed', refusal);
		this.#emitError(refusal);
	}

	#receive(lines) {
		if (this.#share?.isLeader) this.#share.broadcast(lines);
		this.#dispatchNew(lines);
		if (this.#share) this.#share.followIfCaughtUp();
		else if (this.#connection && this.#cursor) this.#shareIfCaughtUp(lines);
	}

	/** Shares the stream once history has been read, so that other tabs do not wait for that. */
	#shareIfCaughtUp(lines) {
		const { share = true, token, ticket, identity } = this.#options;
		const isAnonymous = (token ?? ticket) !== undefined && !identity; // no other tab can be known to read the same
		if (!share || this.#cannotShare || isAnonymous || !globalThis.navigator?.locks) return;
		const hasCaughtUp = !this.#since || lines.some((line) => Date.now() - Date.parse(line.time) < recent);
		if (!hasCaughtUp && this.#timers.share && !lines.some((line) => line.id)) return;
		clearTimeout(this.#timers.share);
		if (hasCaughtUp) this.#startSharing();
		else this.#timers.share = setTimeout(() => this.#startSharing(), caughtUpAfter);
	}

	#startSharing() {
		try {
			this.#share = new Share(`freshet/1 ${this.#options.identity ?? ''} ${this.#url}`, this.#topics, {
				cursor: () => this.#cursor,
				wants: (line) => this.#wants(line),
				dispatch: (lines) => this.#dispatchNew(lines),
				applyStatus: (status) => this.#applyStatus(status),
				isReading: () => this.#connection !== null,
				startReading: () => this.#startReading(),
				wakeReading: () => this.#connection?.wake(),
				restartReading: () => {
					this.#connection?.restart();
					this.#startReading();
				},
				stopReading: () => this.#stopReading(),
				onEnded: () => {
					this.#share = null;
					this.#cannotShare = true;
				},
			});
		} catch {
			this.#cannotShare = true; // the browser has no BroadcastChannel, or none for this page
		}
	}

	#wants({ topic }) {
		return !topic || (this.#topics.length ? this.#topics.some((pattern) => matches(pattern, topic)) : topic !== 'stats');
	}

	/** Dispatches the new events of this stream's topics in order, whichever tab has read them. */
	#dispatchNew(lines) {
		for (const line of lines) {
			if (this.#state === 'closed') return;
			if (line.data === undefined) {
				// An opening moves no cursor: a gap may follow that explains why the stream starts elsewhere.
				if (line.id && (!this.#cursor || !line.retry) && !hasReached(this.#cursor, line.id)) this.#cursor = line.id;
				continue;
			}
			if (line.id) {
				// A tab that reads gets its own gaps. Another tab gets those of the leader, and may be ahead of the leader.
				const gap = line.type === 'gap' && JSON.parse(line.data);
				const concernsUs = gap && !gap.topic && (this.#connection || gap.requested === this.#cursor || gap.reason === 'unknown');
				if (hasReached(this.#cursor, line.id) && !concernsUs) continue;
				this.#cursor = line.id;
			}
			if (this.#wants(line)) this.#dispatch(line);
		}
	}

	#dispatch(line) {
		const e = new StreamEvent(line, this.#cursor, this.#url.origin);
		const ownType = e.topic && e.type !== 'gap' ? '' : e.type;
		if (ownType === 'gap') this.#setState('gap', { gap: e.json(), events: 0 });
		else if (ownType === 'auth-expired') this.#setState('auth-expired', { reason: 'the right to read has ended' });
		else if (e.id && this.#countsMissed) {
			this.#detail.events++;
			this.#reportMissedSoon();
		}
		this.dispatchEvent(e);
		if (e.type === 'message') this.#call(this.onmessage, e);
		for (const { name, fn } of this.#listeners) {
			if (ownType ? name === ownType : !ownEvents.includes(name) && matches(name, e.topic)) this.#call(fn, e);
		}
		if (e.topic || ownType === 'gap') this.#enqueue(e);
	}

	#call(fn, arg) {
		try {
			fn?.call(this, arg);
		} catch (error) {
			globalThis.reportError?.(error); // a listener's mistake must not stop the stream
		}
	}

	#emit(name, arg) {
		if (arg instanceof Event) {
			this.dispatchEvent(arg);
			this.#call(this[`on${name}`], arg);
		}
		for (const listener of this.#listeners) if (listener.name === name) this.#call(listener.fn, arg);
	}

	#emitError({ reason = '', status = 0 }) {
		this.#emit('error', Object.assign(new Event('error'), { reason, status }));
	}

	/** Follows the status of the connection, this tab's or the leader's. */
	#applyStatus({ state, ...detail }) {
		const { readyState } = this;
		if (readyState === Stream.CLOSED) return;
		if (state !== 'live') {
			if (this.#state !== state || this.#detail.until !== detail.until) {
				this.#setState(state, detail);
				this.#emitError(detail);
			}
			return;
		}
		this.#id = detail.id ?? '';
		if (readyState === Stream.CONNECTING) {
			if (this.#hasOpened) {
				this.#setState('resumed', { events: 0 });
				this.#countsMissed = true;
				this.#reportMissedSoon();
			} else this.#setState('live');
			this.#hasOpened = true;
			if (this.#state !== 'closed') this.#emit('open', new Event('open'));
		}
	}

	/** Reports how many events were missed, once no more of them come. */
	#reportMissedSoon() {
		clearTimeout(this.#timers.missed);
		this.#timers.missed = setTimeout(() => {
			this.#countsMissed = false;
			if (this.readyState === Stream.OPEN && this.#state !== 'live') this.#setState(this.#state, this.#detail);
		}, caughtUpAfter);
	}

	#setState(state, detail = {}) {
		clearTimeout(this.#timers.state);
		this.#state = state;
		this.#detail = detail;
		if (state === 'resumed' || state === 'gap') this.#timers.state = setTimeout(() => this.#setState('live'), stateShownFor);
		else this.#countsMissed = false;
		this.#emit('state', { state, ...detail });
		if (state === 'closed') for (const queue of this.#queues) queue.wake();
	}
}

function defaultURL() {
	const { url } = import.meta; // of a server, a package or a bundle
	if (!/^http.*\/assets\/freshet\/stream\.js$/.test(url)) throw new TypeError('connect needs a URL, such as https://events.example/event');
	return new URL('../../event', url);
}

function rejectOnAbort(promise, signal) {
	return new Promise((resolve, reject) => {
		signal.addEventListener('abort', () => reject(signal.reason));
		promise.then(resolve, reject);
	});
}
