// A browser and a server for tests of the client module, in fake time.

import { mock } from 'node:test';

/** startBrowser puts fake timers, fetch, locks and channels in place of the real ones, until the test ends. */
export function startBrowser(t, server = new Server()) {
	mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: Date.UTC(2026, 0, 1) });
	const channels = new Map();
	const fakes = {
		fetch: (url, init) => server.fetch(url, init),
		navigator: { locks: new Locks() },
		BroadcastChannel: class extends Channel {
			constructor(name) { super(channels, name); }
		},
	};
	const real = Object.fromEntries(Object.keys(fakes).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));
	for (const [name, value] of Object.entries(fakes)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
	t.after(() => {
		mock.timers.reset();
		for (const [name, descriptor] of Object.entries(real)) {
			delete globalThis[name];
			if (descriptor) Object.defineProperty(globalThis, name, descriptor);
		}
	});
	return server;
}

/** Page has the events and the visibility of a page, for the streams that are opened after it. */
export class Page {
	#window = new EventTarget();
	#document = Object.assign(new EventTarget(), { visibilityState: 'visible', baseURI: 'https://page.example/' });

	constructor(t) {
		const fakes = { document: this.#document, addEventListener: this.#window.addEventListener.bind(this.#window) };
		for (const [name, value] of Object.entries(fakes)) Object.defineProperty(globalThis, name, { value, configurable: true });
		t.after(() => { for (const name of Object.keys(fakes)) delete globalThis[name]; });
	}

	/** Changes the visibility, to visible or hidden. */
	become(visibility) {
		this.#document.visibilityState = visibility;
		this.fire('visibilitychange');
	}

	/** Fires an event of the window or the document. */
	fire(type, properties) {
		const target = ['visibilitychange', 'freeze', 'resume'].includes(type) ? this.#document : this.#window;
		target.dispatchEvent(Object.assign(new Event(type), properties));
	}
}

/** pass lets fake time pass, and waits for all that happens until then. */
export async function pass(ms, step = 50) {
	await settle();
	for (let left = ms; left > 0; left -= step) {
		mock.timers.tick(Math.min(step, left));
		await settle();
	}
}

/** jump lets fake time pass at once, as it does for a laptop that sleeps. */
export async function jump(ms) {
	mock.timers.setTime(Date.now() + ms);
	await settle();
}

async function settle() {
	for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
}

/** ticket is a compact JSON web signature that expires after so many milliseconds. */
export function ticket(ms, name = 'ticket') {
	const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
	return `${part({ alg: 'HS256' })}.${part({ jti: name, sub: 'ä?>', exp: (Date.now() + ms) / 1000 })}.signature`;
}

/** Server is a server with one log. Assign to its fields to change how it answers. */
export class Server {
	retry = 2000;
	heartbeat = 15_000;
	maxTopics = Infinity;
	refuses = () => null; // of a URL: a Response that is given instead of a stream, or a promise of one
	streams = new Set();
	requests = []; // URLs
	unanswered = 0;
	#log = [];

	get cursor() { return `e-${this.#log.length}`; }

	publish(topic, ...payloads) {
		for (const data of payloads) this.publishAs(topic, topic, data);
	}

	publishAs(type, topic, data) {
		const line = { id: `e-${this.#log.length + 1}`, topic, type, time: new Date().toISOString(), data: String(data) };
		this.#log.push(line);
		for (const stream of this.streams) stream.offer(line);
	}

	/** Breaks all streams. */
	cut() { for (const stream of [...this.streams]) stream.fail(new TypeError('network error')); }

	/** Ends all streams with an event of this type. */
	end(type) {
		for (const stream of [...this.streams]) {
			stream.write({ type, data: '{}' });
			stream.end();
		}
	}

	async fetch(url, { signal }) {
		signal.throwIfAborted();
		this.requests.push(url);
		this.unanswered++;
		const aborted = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
		const refusal = await Promise.race([this.refuses(url), aborted]).finally(() => this.unanswered--);
		if (refusal) return refusal;
		const topics = url.searchParams.getAll('topic');
		if (topics.length > this.maxTopics) return error(400, 'too many topics');
		const stream = new ServerStream(this, topics, url.searchParams.get('ticket'), signal);
		const from = url.searchParams.get('last_event_id');
		const since = url.searchParams.get('since') === 'all' ? 'e-0' : null;
		const cursor = from ?? since ?? this.cursor;
		stream.write({ retry: this.retry, id: cursor });
		for (const line of this.#log.slice(Number(cursor.split('-')[1]))) stream.offer(line);
		return stream.response;
	}
}

/** error is an error as the server answers it. */
export function error(status, message, headers) {
	return Response.json({ error: { code: 'code', message } }, { status, headers });
}

/** answer is an event stream that has only these lines. */
export function answer(...lines) {
	const body = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)) + '\n').join('');
	return new Response(body, { headers: { 'Content-Type': 'application/x-ndjson' } });
}

class ServerStream {
	isSilent = false; // drops what it should write, as a broken network does
	ticket;
	response;
	#server;
	#topics;
	#body;
	#heartbeat;

	constructor(server, topics, ticket, signal) {
		[this.#server, this.#topics, this.ticket] = [server, topics, ticket];
		const body = new ReadableStream({ start: (controller) => { this.#body = controller; }, cancel: () => this.#stop() });
		this.response = new Response(body, { headers: { 'Content-Type': 'application/x-ndjson' } });
		this.#heartbeat = setInterval(() => this.write({ id: server.cursor }), server.heartbeat);
		server.streams.add(this);
		signal.addEventListener('abort', () => this.fail(signal.reason));
	}

	offer(line) {
		if (!this.#topics.length || this.#topics.some((topic) => topic === line.topic || topic === '>')) this.write(line);
	}

	write(line) {
		if (!this.isSilent && this.#server.streams.has(this)) this.#body.enqueue(new TextEncoder().encode(JSON.stringify(line) + '\n'));
	}

	end() { if (this.#stop()) this.#body.close(); }

	fail(reason) { if (this.#stop()) this.#body.error(reason); }

	#stop() {
		clearInterval(this.#heartbeat);
		return this.#server.streams.delete(this);
	}
}

/** Locks are Web Locks, exclusive ones only. */
class Locks {
	#held = new Map(); // by name
	#waiting = [];

	get heldNames() { return [...this.#held.keys()]; }

	request(name, { steal = false, signal }, callback) {
		return new Promise((resolve, reject) => {
			const request = { name, callback, resolve, reject };
			signal?.addEventListener('abort', () => {
				this.#waiting = this.#waiting.filter((other) => other !== request);
				reject(signal.reason);
			});
			if (steal && this.#held.has(name)) {
				this.#held.get(name).reject(new DOMException('the lock was stolen', 'AbortError'));
				this.#held.delete(name);
			}
			if (this.#held.has(name)) this.#waiting.push(request);
			else this.#grant(request);
		});
	}

	#grant(request) {
		this.#held.set(request.name, request);
		queueMicrotask(async () => {
			await request.callback();
			request.resolve();
			if (this.#held.get(request.name) !== request) return; // stolen
			this.#held.delete(request.name);
			const next = this.#waiting.find(({ name }) => name === request.name);
			this.#waiting = this.#waiting.filter((other) => other !== next);
			if (next) this.#grant(next);
		});
	}
}

/** Channel is a BroadcastChannel between the streams of one test. */
class Channel {
	onmessage = null;
	#others;

	constructor(channels, name) {
		if (!channels.has(name)) channels.set(name, new Set());
		this.#others = channels.get(name).add(this);
	}

	postMessage(message) {
		for (const other of this.#others) {
			if (other !== this) queueMicrotask(() => this.#others.has(other) && other.onmessage?.({ data: structuredClone(message) }));
		}
	}

	close() { this.#others.delete(this); }
}
