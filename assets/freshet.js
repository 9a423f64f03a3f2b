// The client of a Freshet server, for pages of its own and of other origins:
//
//	import { connect } from 'https://events.example/assets/freshet.js';
//	const s = connect({ topics: ['orders.*'], since: 'last' });
//	s.on('orders.new', (e) => console.log(e.id, e.json()));
//
// It depends on nothing. docs/client.md says what it promises, freshet.d.ts has the types.
//
// Three parts: a Connection reads the server's lines and comes back when it breaks; a Share
// hands what one tab reads to all tabs of the origin; a Stream is what the page holds. It
// knows its cursor, the ID behind which everything has been dispatched. Whatever comes is
// held against that, from where it may come: what is not newer is dropped. So when in doubt
// a tab reads from its own cursor itself, and nothing is missed or repeated.

const longestWait = 30_000; // ms between two attempts, unless the server says more
const longestPatience = 600_000; // ms
const longestLine = 256 << 20; // characters: the largest body that a server takes, 32 MiB, with every byte escaped
const young = 5000; // ms: who gets events that recent has caught up
const quiet = 250; // ms without an event, and it has caught up too
const shown = 5000; // ms for which the states resumed and gap stand
const tick = 150; // ms between two looks at the leader
const roll = 20_000; // ms between two roll calls
const mostAside = 1000; // lines

const own = ['state', 'open', 'error', 'gap', 'drain', 'auth-expired'];

/** connect opens a stream. Both arguments may be left out, as the URL is the server's that this module came from. */
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

/** Stream is a drop-in for EventSource that hears all types and knows topics. freshet.d.ts explains what is public. */
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
	#url; // without what differs between tabs
	#topics;
	#since;
	#cursor = '';
	#state = 'connecting';
	#detail = {};
	#connection = null; // null: another tab reads
	#share = null;
	#unshared = false; // for good
	#opened = false;
	#credential; // the ticket or token that was last fetched
	#without = 0; // attempts in a row that got none
	#counting = false; // the events that came after a reconnection
	#timers = {};
	#listeners = new Set();
	#queues = new Set();
	#leave = new AbortController(); // takes the listeners off the page

	constructor(url = new URL('../event', import.meta.url), options = {}) {
		super();
		this.#options = options;
		this.#url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
		const query = this.#url.searchParams;
		const [path, inPath] = /^(.*\/event)\/([^/]+)$/.exec(this.#url.pathname)?.slice(1) ?? [this.#url.pathname];
		this.#url.pathname = path;
		this.#url.hash = '';
		this.#topics = [...(options.topics ?? []), ...query.getAll('topic'), ...(inPath ? [decodeURIComponent(inPath)] : [])];
		this.#since = options.since ?? query.get('since') ?? '';
		this.#cursor = query.get('last_event_id') ?? '';
		for (const name of ['topic', 'since', 'last_event_id']) query.delete(name);

		// A page that the browser puts aside, or to sleep, holds nothing, and goes on from its cursor.
		const until = { signal: this.#leave.signal };
		const sleep = () => this.#end();
		const wake = () => {
			if (this.#connection || this.#share) return;
			this.#turn('connecting');
			this.#read();
		};
		globalThis.addEventListener?.('pagehide', sleep, until);
		globalThis.addEventListener?.('pageshow', wake, until);
		globalThis.document?.addEventListener('freeze', sleep, until);
		globalThis.document?.addEventListener('resume', wake, until);
		this.#read();
	}

	get url() { return this.#address(this.#topics).href; }
	get withCredentials() { return false; }
	get readyState() { return { connecting: 0, reconnecting: 0, 'auth-expired': 0, closed: 2 }[this.#state] ?? 1; }
	get state() { return this.#state; }
	get detail() { return this.#detail; }
	get lastEventId() { return this.#cursor; }
	get role() { return this.#share?.leads ? 'leader' : this.#connection || !this.#share ? 'own' : 'follower'; }

	on(name, fn) {
		const listener = { name, fn };
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	close() {
		if (this.#state === 'closed') return;
		this.#leave.abort();
		this.#end();
		this.#turn('closed');
	}

	/** Holds a number of events for a slow loop; beyond that the oldest go, and a gap tells so. */
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
				} else if (this.#detail.reason) {
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

	#address(topics) {
		const url = new URL(this.#url);
		for (const topic of topics) url.searchParams.append('topic', topic);
		return url;
	}

	#read() {
		this.#connection ??= new Connection({
			heartbeat: this.#options.heartbeat ?? 15_000,
			request: (signal) => this.#request(signal),
			lines: (lines) => this.#lines(lines),
			status: (status) => {
				if (status.state === 'live') this.#without = 0;
				this.#status(status);
				if (!this.#share?.leads) return;
				this.#share.beat(status);
				if (this.#credential === undefined && ++this.#without % 3 === 0) this.#share.yield(); // another tab may get one
			},
			renew: () => this.#renew(),
			refused: (refusal) => this.#refused(refusal),
		});
	}

	/** Ends what runs. #read starts it again. */
	#end() {
		this.#share?.close();
		this.#connection?.close();
		this.#share = this.#connection = null;
		clearTimeout(this.#timers.settle);
		this.#timers.settle = 0;
	}

	async #request(signal) {
		const { token, ticket } = this.#options;
		const url = this.#address(this.#share?.leads ? this.#share.topics : this.#topics);
		const headers = { Accept: 'application/x-ndjson, text/event-stream' }; // as it stands: no preflight
		if (this.#cursor) url.searchParams.set('last_event_id', this.#cursor);
		else if (this.#since) url.searchParams.set('since', this.#since);
		const given = ticket ?? token;
		this.#credential ??= typeof given === 'function' ? await orAborted(given(), signal) : given ?? '';
		if (ticket) url.searchParams.set('ticket', this.#credential);
		else if (token) headers.Authorization = `Bearer ${this.#credential}`;
		return [url, headers];
	}

	/** Whether there may be another ticket or token. */
	#renew() {
		this.#credential = undefined;
		return typeof (this.#options.ticket ?? this.#options.token) === 'function';
	}

	#refused(refusal) {
		this.#connection = null; // it has ended
		// Perhaps what another tab asks for is refused: then to each its own.
		if (this.#share?.leads && this.#share.united) return this.#share.part();
		this.#leave.abort();
		this.#end();
		this.#turn('closed', refusal);
		this.#fail(refusal);
	}

	#lines(lines) {
		if (this.#share?.leads) this.#share.handOn(lines);
		this.#take(lines);
		if (this.#share) this.#share.caughtUp();
		else if (this.#connection && this.#cursor) this.#settle(lines);
	}

	/** Shares the stream once history has been read: other tabs are not to wait for that. */
	#settle(lines) {
		const { share = true, token, ticket, identity } = this.#options;
		const nobody = (token ?? ticket) !== undefined && !identity; // that others could be
		if (!share || this.#unshared || nobody || !globalThis.navigator?.locks) return;
		const start = () => {
			try {
				this.#share = new Share(`freshet/1 ${identity ?? ''} ${this.#url}`, this.#topics, {
					cursor: () => this.#cursor,
					wants: (line) => this.#wants(line),
					take: (lines) => this.#take(lines),
					status: (status) => this.#status(status),
					reads: () => this.#connection !== null,
					read: (anew) => {
						if (anew) this.#connection?.again();
						this.#read();
					},
					rest: () => {
						this.#connection?.close();
						this.#connection = null;
					},
					alone: () => {
						this.#share = null;
						this.#unshared = true;
					},
				});
			} catch {
				this.#unshared = true; // the browser has no channel, or none for this page
			}
		};
		const soon = !this.#since || lines.some((line) => Date.now() - Date.parse(line.time) < young);
		if (!soon && this.#timers.settle && !lines.some((line) => line.id)) return;
		clearTimeout(this.#timers.settle);
		if (soon) start();
		else this.#timers.settle = setTimeout(start, quiet);
	}

	#wants(line) {
		const { topic } = line;
		return !topic || (this.#topics.length ? this.#topics.some((pattern) => matches(pattern, topic)) : topic !== 'stats');
	}

	/** Dispatches what is new and of this stream's topics, in order, whoever has read it. */
	#take(lines) {
		for (const line of lines) {
			if (this.#state === 'closed') return;
			if (line.data === undefined) {
				// An opening is no news: a gap may follow it that says why it is elsewhere.
				if (line.id && (!this.#cursor || !line.retry) && !reached(this.#cursor, line.id)) this.#cursor = line.id;
				continue;
			}
			if (line.id) {
				// Who reads is told of its own gaps; another tab by the one that reads, and it may be ahead of that.
				const gap = line.type === 'gap' && !line.topic && JSON.parse(line.data);
				const concerns = gap && (this.#connection || gap.requested === this.#cursor || gap.reason === 'unknown');
				if (reached(this.#cursor, line.id) && !concerns) continue;
				this.#cursor = line.id;
			}
			if (this.#wants(line)) this.#dispatch(line);
		}
	}

	#dispatch(line) {
		const e = new StreamEvent(line, this.#cursor, this.#url.origin);
		const told = e.topic ? '' : e.type;
		if (told === 'gap') this.#turn('gap', { gap: e.json(), events: 0 });
		else if (told === 'auth-expired') this.#turn('auth-expired', { reason: 'the right to read has ended' });
		else if (e.id && this.#counting) {
			this.#detail.events++;
			this.#counted();
		}
		this.dispatchEvent(e);
		if (e.type === 'message') this.#call(this.onmessage, e);
		for (const { name, fn } of this.#listeners) {
			if (e.topic ? !own.includes(name) && matches(name, e.topic) : name === told) this.#call(fn, e);
		}
		if (e.topic || told === 'gap') this.#enqueue(e);
	}

	#call(fn, arg) {
		try {
			fn?.call(this, arg);
		} catch (error) {
			globalThis.reportError?.(error); // a listener's mistake is not the stream's
		}
	}

	#tell(name, arg) {
		if (arg instanceof Event) {
			this.dispatchEvent(arg);
			this.#call(this[`on${name}`], arg);
		}
		for (const listener of this.#listeners) if (listener.name === name) this.#call(listener.fn, arg);
	}

	#fail({ reason = '', status = 0 }) {
		this.#tell('error', Object.assign(new Event('error'), { reason, status }));
	}

	/** What the connection says, this tab's or the leader's. */
	#status({ state, ...detail }) {
		const { readyState } = this;
		if (readyState === Stream.CLOSED) return;
		if (state !== 'live') {
			if (this.#state !== state || this.#detail.until !== detail.until) {
				this.#turn(state, detail);
				this.#fail(detail);
			}
		} else if (readyState === Stream.CONNECTING) {
			if (this.#opened) {
				this.#turn('resumed', { events: 0 });
				this.#counting = true;
				this.#counted();
			} else this.#turn('live');
			this.#opened = true;
			if (this.#state !== 'closed') this.#tell('open', new Event('open'));
		}
	}

	/** Tells how many were missed once no more of them come. */
	#counted() {
		clearTimeout(this.#timers.counting);
		this.#timers.counting = setTimeout(() => {
			this.#counting = false;
			if (this.readyState === Stream.OPEN && this.#state !== 'live') this.#turn(this.#state, this.#detail);
		}, quiet);
	}

	#turn(state, detail = {}) {
		clearTimeout(this.#timers.shown);
		this.#state = state;
		this.#detail = detail;
		if (state === 'resumed' || state === 'gap') this.#timers.shown = setTimeout(() => this.#turn('live'), shown);
		else this.#counting = false;
		this.#tell('state', { state, ...detail });
		if (state === 'closed') for (const queue of this.#queues) queue.wake();
	}
}

/** Connection reads lines until it is closed; when it breaks, it comes back. */
class Connection {
	#owner;
	#part = new AbortController(); // of this attempt, or of the wait for the next
	#closed = false;
	#again = false;
	#failures = 0;
	#denied = 0; // times in a row
	#renewed = 0; // when a ticket or token was last asked for at once
	#retry = 2000;
	#heard = Infinity; // when something came last; Infinity while nothing is read
	#patience;
	#watch;
	#leave = new AbortController();

	constructor(owner) {
		this.#owner = owner;
		this.#patience = 2.5 * owner.heartbeat;
		// Also how a laptop finds after its sleep that its connection did not live through it.
		this.#watch = setInterval(() => {
			if (Date.now() - this.#heard <= this.#patience) return;
			this.#patience = Math.min(2 * this.#patience, longestPatience); // unless heartbeats say better
			this.#part.abort(new Error('nothing came for too long'));
		}, Math.min(1000, owner.heartbeat));
		const until = { signal: this.#leave.signal };
		globalThis.addEventListener?.('offline', () => this.#part.abort(new Error('offline')), until);
		globalThis.addEventListener?.('online', () => this.again(), until);
		this.#run();
	}

	close() {
		this.#closed = true;
		this.#part.abort();
		this.#leave.abort();
		clearInterval(this.#watch);
	}

	/** Asks anew, now, from the cursor. */
	again() {
		this.#again = true;
		this.#part.abort();
	}

	async #run() {
		while (!this.#closed) {
			this.#again = false;
			let answer = {};
			try {
				answer = await this.#read((this.#part = new AbortController()).signal);
			} catch (error) {
				if (!this.#closed && !this.#again) answer.reason = String(error?.message ?? error);
			}
			this.#heard = Infinity;
			if (this.#closed) return;
			if (answer.final) {
				this.close();
				return this.#owner.refused({ reason: answer.reason, status: answer.status });
			}
			if (this.#again || answer.now) continue;
			this.#failures++;
			const grown = Math.min(longestWait, this.#retry * 2 ** Math.min(this.#failures - 1, 10));
			// The server's own retry has its jitter.
			const wait = Math.max(this.#failures > 1 ? grown * (0.5 + Math.random() / 2) : grown, this.#retry, answer.wait ?? 0);
			const { signal } = (this.#part = new AbortController());
			this.#owner.status({ state: 'reconnecting', wait, until: Date.now() + wait, reason: answer.reason, status: answer.status });
			await new Promise((done) => {
				const timer = setTimeout(done, wait);
				signal.addEventListener('abort', () => done(clearTimeout(timer)));
			});
		}
	}

	async #read(signal) {
		this.#heard = Date.now();
		const [url, headers] = await this.#owner.request(signal);
		const answer = await fetch(url, { headers, signal, cache: 'no-store' });
		// A proxy that stands in for its server speaks of an event stream.
		if (answer.status !== 200 || !/ndjson|event-stream/.test(answer.headers.get('Content-Type'))) return this.#refusal(answer);
		let open = false, renew = false, late, rest = '';
		const live = () => {
			if (open) return;
			open = true;
			this.#denied = 0;
			this.#owner.status({ state: 'live' });
		};
		try {
			const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
			for (;;) {
				const { done, value } = await reader.read();
				signal.throwIfAborted();
				if (done) return { now: renew && this.#owner.renew() && this.#atOnce() };
				const silence = Date.now() - this.#heard;
				this.#heard += silence;
				const lines = (rest + value).split('\n');
				rest = lines.pop();
				if (rest.length > longestLine) throw new Error('a line is too long');
				const parsed = lines.map(parse).filter(Boolean);
				for (const line of parsed) {
					if (line.retry) [this.#retry, this.#failures] = [line.retry, 0];
					else if (line.data === undefined && silence < this.#patience) this.#patience = 2.5 * Math.max(silence, this.#owner.heartbeat);
					renew ||= line.type === 'auth-expired' && !line.topic;
				}
				// A retry and no more may be the whole answer of a server that is full.
				if (parsed.some((line) => line.id || line.data !== undefined)) live();
				else late ??= setTimeout(live, quiet);
				if (parsed.length) this.#owner.lines(parsed);
				signal.throwIfAborted(); // a listener may have closed it
			}
		} finally {
			clearTimeout(late);
		}
	}

	async #refusal(answer) {
		const { status } = answer;
		let reason;
		try {
			reason = (await answer.json()).error.message;
		} catch {
			reason = status === 200 ? 'the answer is no event stream' : `the server answered ${status} ${answer.statusText}`.trim();
		}
		if (status === 401 && this.#owner.renew() && ++this.#denied < 3) return { now: this.#atOnce(), reason, status };
		// As it is with EventSource, 204 says that nothing is to come.
		const final = status === 204 || status >= 400 && status < 500 && ![408, 425, 429].includes(status);
		return { final, reason, status, wait: 1000 * (Number(answer.headers.get('Retry-After')) || 0) };
	}

	/** Another ticket or token is tried at once, but not again and again. */
	#atOnce() {
		const before = this.#renewed;
		this.#renewed = Date.now();
		return this.#renewed - before > young;
	}
}

/**
 * Share is one tab's part in reading one stream for all tabs of an origin. Who holds the lock leads: reads
 * what all want and hands it on. A leader's term begins when it gets the lock, and all that it says has the
 * term and a number, so that a hole is seen. A tab that sees one, or is not behind what is handed on, reads
 * from its own cursor until it has reached that.
 *
 * On the channel: hello {id, topics} and bye {id} of each tab; ping of who has not heard the leader; of the
 * leader lines {term, n, lines}, beat {term, n, from, peers, status}: for the peers all is handed on behind
 * from; roll: say hello; part: to each its own stream.
 */
class Share {
	leads = false;
	topics; // what the leader reads

	#id = crypto.randomUUID();
	#name;
	#own;
	#stream;
	#channel;
	#peers = new Map(); // topics of the others, and of each that leads
	#answered = new Set(); // since the last roll call
	#leader = '';
	#term = 0;
	#n = 0;
	#joined = false; // the leader reads for this tab too, and no number is missing
	#from = '';
	#aside = []; // handed on, not taken yet
	#status = { state: 'live' };
	#heard = Date.now(); // of the leader
	#pings = 0; // without an answer
	#ticked = Date.now();
	#rolled = Date.now();
	#ticker;
	#asked;
	#release = () => {};
	#closed = false;

	constructor(name, topics, stream) {
		this.#name = name;
		this.#own = this.topics = unite([topics]);
		this.#stream = stream;
		this.#channel = new BroadcastChannel(name);
		this.#channel.onmessage = ({ data }) => this.#hear(data);
		this.#ticker = setInterval(() => this.#tick(), tick);
		this.#hello();
		this.#ask();
	}

	get united() { return String(this.topics) !== String(this.#own); }

	close() {
		if (this.#closed) return;
		this.#say('bye');
		this.#closed = true;
		this.leads = false;
		clearInterval(this.#ticker);
		this.#asked.abort();
		this.#release();
		this.#channel.close();
	}

	/** Hands on what was read, before this tab takes it. */
	handOn(lines) {
		if (this.#peers.size) this.#say('lines', { n: ++this.#n, lines });
	}

	beat(status = this.#status) {
		this.#status = status;
		this.#say('beat', { n: this.#n, from: this.#stream.cursor(), peers: [...this.#peers, [this.#id, this.#own]], status });
	}

	/** Leaves the reading to the leader once this tab is not behind it. */
	caughtUp() {
		if (this.leads || !this.#joined || this.#status.state !== 'live' || !this.#stream.reads() || !reached(this.#stream.cursor(), this.#from)) return;
		this.#stream.rest();
		const aside = this.#aside;
		this.#aside = [];
		this.#stream.take(aside);
		this.#stream.status(this.#status);
	}

	/** Lets another tab lead, if there is one. */
	yield() {
		if (!this.#peers.size) return;
		this.#release();
		this.#follow();
		this.#ask();
	}

	/** Ends the sharing, in all tabs: what one of them wants is refused. */
	part() {
		if (this.leads) this.#say('part');
		this.close();
		this.#stream.alone();
		this.#stream.read(true);
	}

	#say(kind, more) {
		if (!this.#closed) this.#channel.postMessage({ kind, id: this.#id, term: this.#term, ...more });
	}

	#hello() { this.#say('hello', { topics: this.#own }); }

	#hear(m) {
		switch (m.kind) {
		case 'hello':
			this.#peers.set(m.id, m.topics);
			this.#answered.add(m.id);
			if (this.leads) this.#cover();
			return;
		case 'bye':
			this.#peers.delete(m.id);
			return;
		case 'ping':
			if (this.leads) this.beat();
			return;
		}
		if (m.term < this.#term || m.term === this.#term && this.leads) return; // of a leader that was, and does not know
		if (this.leads) this.#follow();
		if (m.term > this.#term) this.#joined = false;
		this.#term = m.term;
		this.#leader = m.id;
		this.#heard = Date.now();
		this.#pings = 0;
		const reads = this.#stream.reads();
		const whole = this.#joined && m.n === this.#n + (m.kind === 'lines' ? 1 : 0);
		switch (m.kind) {
		case 'roll':
			return this.#hello();
		case 'part':
			return this.part();
		case 'beat':
			this.#n = m.n;
			this.#status = m.status;
			this.#peers = new Map(m.peers);
			this.#joined = this.#peers.delete(this.#id);
			if (!this.#joined) {
				this.#hello();
			} else if (!whole) {
				this.#from = m.from;
				this.#aside = [];
			}
			if (reads) this.caughtUp();
			else if (!this.#joined || !whole && !reached(this.#stream.cursor(), m.from)) this.#stream.read();
			else this.#stream.status(m.status);
			return;
		case 'lines':
			this.#n = m.n;
			if (!whole) {
				if (!this.#joined && reads) return;
				this.#joined = false; // until a beat says from where
				this.#stream.read();
				this.#say('ping');
			} else if (!reads) {
				this.#stream.take(m.lines);
			} else {
				this.#aside.push(...m.lines.filter((line) => line.id && this.#stream.wants(line)));
				if (this.#aside.length > mostAside) {
					this.#from = this.#aside.at(-1).id;
					this.#aside = [];
				}
				this.caughtUp();
			}
		}
	}

	#ask(steal = false) {
		this.#asked?.abort();
		const asked = this.#asked = new AbortController();
		navigator.locks.request(this.#name, steal ? { steal } : { signal: asked.signal }, () => new Promise((release) => {
			if (asked.signal.aborted) return release();
			this.#release = release;
			this.#lead();
		})).catch((error) => {
			if (asked.signal.aborted) return;
			if (error.name !== 'AbortError') return this.part(); // the browser does not let this page
			if (this.leads) this.#follow(); // it was stolen
			this.#ask();
		});
	}

	#lead() {
		this.leads = true;
		this.#term = Math.max(Date.now(), this.#term + 1);
		this.#n = 0;
		this.#joined = false;
		this.#aside = [];
		this.#peers.delete(this.#leader);
		this.#answered = new Set(this.#peers.keys());
		this.topics = this.#own; // what is read now, if anything is
		this.#cover();
		this.#stream.read(this.#status.state !== 'live'); // and say so when it is
		this.#say('roll', { n: this.#n });
	}

	/** Reads on from the cursor what all want, where that is more than what is read. */
	#cover() {
		const all = unite([this.#own, ...this.#peers.values()]);
		if (String(all) !== String(this.topics)) {
			this.topics = all;
			if (this.#stream.reads()) this.#stream.read(true);
		}
		this.beat();
	}

	#follow() {
		this.leads = false;
		this.#joined = false;
		this.#heard = Date.now();
		this.#hello();
	}

	#tick() {
		const now = Date.now();
		const late = now - this.#ticked > 10 * tick; // this tab was asleep: the leader may have been there
		this.#ticked = now;
		if (this.leads) {
			if (now - this.#rolled < roll) return;
			this.#rolled = now;
			for (const id of this.#peers.keys()) if (!this.#answered.has(id)) this.#peers.delete(id);
			this.#answered.clear();
			this.#cover();
			this.#say('roll', { n: this.#n });
		} else if (late) {
			this.#heard = now;
			this.#pings = 0;
		} else if (now - this.#heard > tick) {
			if (this.#pings++ < 3) return this.#say('ping');
			this.#pings = 0;
			this.#heard = now;
			this.#ask(true);
		}
	}
}

function parse(line) {
	const retry = /^retry: *(\d+)/.exec(line);
	if (retry) return { retry: Number(retry[1]) };
	try {
		const value = JSON.parse(line);
		return typeof value === 'object' ? value : null;
	} catch {
		return null; // empty, or not Freshet's
	}
}

/** Whether the cursor is at the ID or behind it; IDs of two logs have no order. */
function reached(cursor, id) {
	const [epoch, seq] = cursor.split('-'), [otherEpoch, otherSeq] = id.split('-');
	return epoch === otherEpoch && Number(seq) >= Number(otherSeq);
}

/** Whether the topic is of the pattern. */
export function matches(pattern, topic) {
	if (pattern === topic) return true;
	if (topic === 'counter' || topic === 'stats') return false; // only by name
	const wanted = pattern.split('.'), tokens = topic.split('.');
	const rest = wanted.at(-1) === '>' && wanted.length <= tokens.length;
	return (rest || wanted.length === tokens.length) &&
		wanted.every((token, i) => token === '*' || token === tokens[i] || rest && i === wanted.length - 1);
}

/**
 * The topics of all, in one order. No topics are the counter and all that may be read. Beside others they are
 * asked for by name: a server that refuses that to this tab might give others less than they may have.
 */
function unite(lists) {
	const all = new Set(lists.flatMap((list) => (list.length ? list : ['>', 'counter'])));
	if (all.has('>')) {
		for (const topic of all) if (!['>', 'counter', 'stats'].includes(topic)) all.delete(topic);
	}
	if (!lists.flat().length) return [];
	return [...all].sort();
}

function orAborted(promise, signal) {
	return new Promise((done, fail) => {
		signal.addEventListener('abort', () => fail(signal.reason));
		Promise.resolve(promise).then(done, fail);
	});
}
