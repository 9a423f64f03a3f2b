// Sharing one stream between all tabs of an origin.

import { hasReached } from './cursor.js';
import { union } from './pattern.js';

const tick = 150; // ms between two checks of the leader
const rollCallPause = 20_000; // ms
const maxBuffered = 1000; // lines

/**
 * Share is one tab's part in a shared stream. The tab that holds a Web Lock leads: it reads what all tabs want, and posts that on a
 * BroadcastChannel. A leader's term begins when it gets the lock. Each of its posts has the term and a sequence number, so that a tab
 * notices a missing one. A tab that misses a post, or is behind what the leader posts, reads from its own cursor until it has
 * caught up.
 *
 * Posts of each tab: hello { id, topics }, bye { id }, ping when it has not heard the leader, and ping { wake } when its page may have
 * slept: then the leader checks its stream too.
 * Posts of the leader: lines { term, n, lines }; beat { term, n, from, peers, status }, by which the peers get all events after the
 * ID from; roll, to which all answer hello; part, after which each tab has its own stream.
 *
 * Share calls its stream back: cursor, wants, dispatch, applyStatus, isReading, startReading, wakeReading, restartReading,
 * stopReading, and onEnded when sharing has ended for good.
 */
export class Share {
	isLeader = false;
	topics; // that the leader reads

	#id = crypto.randomUUID();
	#name;
	#ownTopics;
	#stream;
	#channel;
	#peers = new Map(); // topics of the other tabs, and of each former leader
	#answered = new Set(); // since the last roll call
	#leader = '';
	#term = 0;
	#sequence = 0;
	#isCovered = false; // the leader reads for this tab too, and no post is missing
	#from = ''; // the leader posts all events after this ID
	#buffered = []; // posted, while this tab still reads by itself
	#status = { state: 'live' };
	#heardAt = Date.now(); // from the leader
	#pings = 0; // without an answer
	#tickedAt = Date.now();
	#rolledAt = Date.now();
	#ticker;
	#lockRequest;
	#releaseLock = () => {};
	#isClosed = false;

	constructor(name, topics, stream) {
		this.#name = name;
		this.#ownTopics = this.topics = union([topics]);
		this.#stream = stream;
		this.#channel = new BroadcastChannel(name);
		this.#channel.onmessage = ({ data }) => this.#receive(data);
		this.#ticker = setInterval(() => this.#checkLeader(), tick);
		this.#sayHello();
		this.#requestLock();
	}

	get readsForOthers() { return String(this.topics) !== String(this.#ownTopics); }

	close() {
		if (this.#isClosed) return;
		this.#post('bye');
		this.#isClosed = true;
		this.isLeader = false;
		clearInterval(this.#ticker);
		this.#lockRequest.abort();
		this.#releaseLock();
		this.#channel.close();
	}

	/** Posts what the leader has read, before the leader dispatches it. */
	broadcast(lines) {
		if (this.#peers.size) this.#post('lines', { n: ++this.#sequence, lines });
	}

	/** Asks the leader whether its stream lives. If the leader is frozen, it does not answer, and this tab soon leads. */
	wake() {
		if (!this.isLeader) this.#post('ping', { wake: true });
	}

	beat(status = this.#status) {
		this.#status = status;
		const peers = [...this.#peers, [this.#id, this.#ownTopics]];
		this.#post('beat', { n: this.#sequence, from: this.#stream.cursor(), peers, status });
	}

	/** Stops this tab's own reading once it is not behind the leader. */
	followIfCaughtUp() {
		if (this.isLeader || !this.#isCovered || this.#status.state !== 'live') return;
		if (!this.#stream.isReading() || !hasReached(this.#stream.cursor(), this.#from)) return;
		this.#stream.stopReading();
		const lines = this.#buffered;
		this.#buffered = [];
		this.#stream.dispatch(lines);
		this.#stream.applyStatus(this.#status);
	}

	/** Lets another tab lead, if there is one. */
	stepDown() {
		if (!this.#peers.size) return;
		this.#releaseLock();
		this.#becomeFollower();
		this.#requestLock();
	}

	/** Ends sharing in all tabs, because the server refuses what one of them wants. */
	dissolve() {
		if (this.isLeader) this.#post('part');
		this.close();
		this.#stream.onEnded();
		this.#stream.restartReading();
	}

	#post(kind, more) {
		if (!this.#isClosed) this.#channel.postMessage({ kind, id: this.#id, term: this.#term, ...more });
	}

	#sayHello() { this.#post('hello', { topics: this.#ownTopics }); }

	#receive(post) {
		switch (post.kind) {
		case 'hello':
			this.#peers.set(post.id, post.topics);
			this.#answered.add(post.id);
			if (this.isLeader) this.#readForAll();
			return;
		case 'bye':
			this.#peers.delete(post.id);
			return;
		case 'ping':
			if (!this.isLeader) return;
			this.beat();
			if (post.wake) this.#stream.wakeReading();
			return;
		}
		// A former leader may not know yet that its term is over.
		if (post.term < this.#term || post.term === this.#term && this.isLeader) return;
		if (this.isLeader) this.#becomeFollower();
		if (post.term > this.#term) this.#isCovered = false;
		this.#term = post.term;
		this.#leader = post.id;
		this.#heardAt = Date.now();
		this.#pings = 0;
		const isNext = this.#isCovered && post.n === this.#sequence + (post.kind === 'lines' ? 1 : 0);
		switch (post.kind) {
		case 'roll': return this.#sayHello();
		case 'part': return this.dissolve();
		case 'beat': return this.#receiveBeat(post, isNext);
		case 'lines': return this.#receiveLines(post, isNext);
		}
	}

	#receiveBeat({ n, from, peers, status }, isNext) {
		const wasReading = this.#stream.isReading();
		this.#sequence = n;
		this.#status = status;
		this.#peers = new Map(peers);
		this.#isCovered = this.#peers.delete(this.#id);
		if (!this.#isCovered) {
			this.#sayHello();
		} else if (!isNext) {
			this.#from = from;
			this.#buffered = [];
		}
		if (wasReading) this.followIfCaughtUp();
		else if (!this.#isCovered || !isNext && !hasReached(this.#stream.cursor(), from)) this.#stream.startReading();
		else this.#stream.applyStatus(status);
	}

	#receiveLines({ n, lines }, isNext) {
		const isReading = this.#stream.isReading();
		this.#sequence = n;
		if (!isNext) {
			if (!this.#isCovered && isReading) return;
			this.#isCovered = false; // until a beat says from which ID the leader posts
			this.#stream.startReading();
			this.#post('ping');
		} else if (!isReading) {
			this.#stream.dispatch(lines);
		} else {
			this.#buffered.push(...lines.filter((line) => line.id && this.#stream.wants(line)));
			if (this.#buffered.length > maxBuffered) {
				this.#from = this.#buffered.at(-1).id;
				this.#buffered = [];
			}
			this.followIfCaughtUp();
		}
	}

	#requestLock(steal = false) {
		this.#lockRequest?.abort();
		const request = this.#lockRequest = new AbortController();
		navigator.locks.request(this.#name, steal ? { steal } : { signal: request.signal }, () => new Promise((release) => {
			if (request.signal.aborted) return release();
			this.#releaseLock = release;
			this.#becomeLeader();
		})).catch((error) => {
			if (request.signal.aborted) return;
			if (error.name !== 'AbortError') return this.dissolve(); // the browser gives this page no lock
			if (this.isLeader) this.#becomeFollower(); // another tab has stolen the lock
			this.#requestLock();
		});
	}

	#becomeLeader() {
		this.isLeader = true;
		this.#term = Math.max(Date.now(), this.#term + 1);
		this.#sequence = 0;
		this.#isCovered = false;
		this.#buffered = [];
		this.#peers.delete(this.#leader);
		this.#answered = new Set(this.#peers.keys());
		this.topics = this.#ownTopics; // which are read now, if anything is
		this.#readForAll();
		// The former leader was reconnecting, so this tab says when it is live.
		if (this.#status.state !== 'live') this.#stream.restartReading();
		else this.#stream.startReading();
		this.#post('roll', { n: this.#sequence });
	}

	/** Reads on from the cursor what all tabs want, if that is more than what is read. */
	#readForAll() {
		const all = union([this.#ownTopics, ...this.#peers.values()]);
		if (String(all) !== String(this.topics)) {
			this.topics = all;
			if (this.#stream.isReading()) this.#stream.restartReading();
		}
		this.beat();
	}

	#becomeFollower() {
		this.isLeader = false;
		this.#isCovered = false;
		this.#heardAt = Date.now();
		this.#sayHello();
	}

	#checkLeader() {
		const now = Date.now();
		const hasSlept = now - this.#tickedAt > 10 * tick; // so this tab cannot tell whether the leader was silent
		this.#tickedAt = now;
		if (this.isLeader) {
			if (now - this.#rolledAt >= rollCallPause) this.#callRoll(now);
		} else if (hasSlept) {
			this.#heardAt = now;
			this.#pings = 0;
		} else if (now - this.#heardAt > tick) {
			if (this.#pings++ < 3) return this.#post('ping');
			this.#pings = 0;
			this.#heardAt = now;
			this.#requestLock(true);
		}
	}

	/** Forgets the tabs that did not answer the last roll call. */
	#callRoll(now) {
		this.#rolledAt = now;
		for (const id of this.#peers.keys()) if (!this.#answered.has(id)) this.#peers.delete(id);
		this.#answered.clear();
		this.#readForAll();
		this.#post('roll', { n: this.#sequence });
	}
}
