import assert from 'node:assert/strict';
import test from 'node:test';

import { connect } from '../freshet.js';
import { answer, error, pass, startBrowser, ticket } from './kit.js';

// Streams of one page share as those of several tabs do.

const url = 'https://server.example/event';

function open(t, options) {
	const s = connect(url, { topics: ['numbers'], ...options });
	Object.assign(s, { got: [], gaps: 0, said: [] });
	s.on('>', (e) => s.got.push(e.data));
	s.on('gap', () => s.gaps++);
	s.on('state', ({ state, reason }) => s.said.push([state, reason].filter(Boolean).join(' ')));
	t.after(() => s.close());
	return s;
}

const roles = (...streams) => streams.map((s) => s.role).join();

/** Opens streams that share, the first of which leads. */
async function openShared(t, ...options) {
	const streams = [];
	for (const each of options) {
		streams.push(open(t, each));
		await pass(1000);
	}
	assert.equal(roles(...streams), ['leader', ...streams.slice(1).map(() => 'follower')].join());
	return streams;
}

/** Takes the lock from the leader, as a tab does that no longer hears it. */
async function stealLock() {
	const { locks } = navigator;
	await locks.request(locks.heldNames[0], { steal: true }, async () => {});
	await pass(1000);
}

const numbers = (n) => Array.from({ length: n }, (_, i) => String(i));

test('one stream for all, and each gets its own topics', async (t) => {
	const server = startBrowser(t);
	const [a, b, c] = await openShared(t, {}, {}, { topics: ['other'] });
	assert.equal(server.streams.size, 1);
	for (const n of numbers(100)) {
		server.publish('numbers', n);
		server.publish('other', `other ${n}`);
		await pass(10, 10);
	}
	assert.deepEqual([a.got, b.got, c.got], [numbers(100), numbers(100), numbers(100).map((n) => `other ${n}`)]);
	assert.equal(a.lastEventId, b.lastEventId);
});

test('history is read before a stream is shared', async (t) => {
	const server = startBrowser(t);
	server.publish('numbers', 0, 1, 2);
	await pass(60_000, 1000);
	const [a, b] = await openShared(t, {}, { since: 'all' });
	server.publish('numbers', 3);
	await pass(0);
	assert.deepEqual([a.got, b.got, server.streams.size], [['3'], numbers(4), 1]);
});

test('another one leads when the leader closes', async (t) => {
	const server = startBrowser(t);
	const [a, b, c] = await openShared(t, {}, {}, {});
	server.publish('numbers', 0);
	await pass(0);
	a.close();
	server.publish('numbers', 1);
	await pass(1000);
	server.publish('numbers', 2);
	await pass(0);
	assert.equal(roles(b, c), 'leader,follower');
	assert.deepEqual([b.got, c.got, b.said, c.said, server.streams.size], [numbers(3), numbers(3), ['live'], ['live'], 1]);
});

test('a follower that misses a post reads by itself until it has caught up', async (t) => {
	const server = startBrowser(t);
	const [a, b] = await openShared(t, {}, {});
	// The browser drops the posts of a moment.
	const { postMessage } = BroadcastChannel.prototype.__proto__;
	const drops = t.mock.method(BroadcastChannel.prototype.__proto__, 'postMessage', function (post) {
		if (post.kind !== 'lines') postMessage.call(this, post);
	});
	server.publish('numbers', 0, 1);
	await pass(0);
	assert.deepEqual(b.got, []);
	drops.mock.restore();
	server.publish('numbers', 2);
	await pass(5000);
	server.publish('numbers', 3);
	await pass(0);
	assert.deepEqual([a.got, b.got, roles(a, b), server.streams.size], [numbers(4), numbers(4), 'leader,follower', 1]);
});

test('a lost network is told in all tabs, and each tells what it missed', async (t) => {
	const server = startBrowser(t);
	const [a, b] = await openShared(t, {}, {});
	server.refuses = () => error(502, 'away');
	server.cut();
	server.publish('numbers', 0);
	await pass(5000);
	assert.deepEqual([a.state, b.state, b.readyState, b.detail.reason], ['reconnecting', 'reconnecting', 0, 'away']);
	server.refuses = () => null;
	await pass(30_000);
	assert.deepEqual([a.got, b.got, a.said.at(-1), b.said.at(-1)], [['0'], ['0'], 'live', 'live']);
	assert.ok(a.said.includes('resumed') && b.said.includes('resumed'));
});

test('the leader fetches the next ticket for all', async (t) => {
	const server = startBrowser(t);
	const fetched = { a: 0, b: 0, c: 0 };
	const options = (name) => ({ identity: 'alice', ticket: async () => ticket(60_000, `${name} ${++fetched[name]}`) });
	const [a, b, c] = await openShared(t, options('a'), options('b'), options('c'));
	for (const n of numbers(150)) {
		server.publish('numbers', n);
		await pass(2000, 50);
		assert.equal(server.streams.size, 1);
	}
	assert.ok(fetched.a >= 6 && fetched.a <= 8, `the leader fetched ${fetched.a} in five minutes`);
	assert.deepEqual([fetched.b, fetched.c], [1, 1], 'each follower fetched one, to read its history');
	for (const s of [a, b, c]) assert.deepEqual([s.got, s.said], [numbers(150), ['live']]);

	// Its successor's ticket has expired meanwhile.
	a.close();
	await pass(1000);
	server.publish('numbers', 150);
	await pass(0);
	assert.deepEqual([roles(b, c), fetched.b, fetched.c, b.got.length, c.got.length], ['leader,follower', 2, 1, 151, 151]);
	assert.deepEqual([b.said, c.said], [['live'], ['live']]);
});

test('tickets that the server accepts once: each new leader fetches another', async (t) => {
	const server = startBrowser(t);
	const used = new Set();
	server.refuses = (request) => {
		const value = request.searchParams.get('ticket');
		if (used.has(value)) return error(401, 'not valid');
		used.add(value);
		return null;
	};
	let fetched = 0;
	const options = { identity: 'alice', ticket: async () => `ticket ${fetched++}` };
	const [a, b] = await openShared(t, options, options);
	for (const n of numbers(8)) {
		await pass(6000, 100);
		const before = [a, b].find((s) => s.role === 'leader');
		await stealLock();
		assert.notEqual([a, b].find((s) => s.role === 'leader'), before);
		server.publish('numbers', n);
		await pass(0);
		assert.deepEqual([a.readyState, b.readyState, a.got, b.got], [1, 1, numbers(Number(n) + 1), numbers(Number(n) + 1)]);
	}
	assert.ok(fetched >= 8);
});

test('a leader that gets no ticket lets another lead, and follows it', async (t) => {
	const server = startBrowser(t);
	let loggedOut = false;
	const [a, b] = await openShared(t,
		{ identity: 'alice', ticket: async () => { if (loggedOut) throw new Error('logged out'); return "a's"; } },
		{ identity: 'alice', ticket: async () => "b's" });
	loggedOut = true;
	server.refuses = (request) => (request.searchParams.get('ticket') === "a's" ? error(401, 'not valid') : null);
	server.cut();
	server.publish('numbers', 0);
	await pass(60_000, 100);
	server.publish('numbers', 1);
	await pass(0);
	assert.deepEqual([roles(a, b), a.got, b.got, server.streams.size], ['follower,leader', numbers(2), numbers(2), 1]);
	assert.ok(a.said.includes('reconnecting logged out'));
});

test('a tab that becomes the leader while it reads does not pass on that the former one was waiting', async (t) => {
	const server = startBrowser(t);
	const [a] = await openShared(t, {});
	server.retry = 600_000;
	server.refuses = () => answer('retry: 600000', '');
	server.cut();
	await pass(5000);
	assert.equal(a.state, 'reconnecting');
	server.refuses = () => null;
	const b = open(t);
	await pass(2000);
	assert.deepEqual([b.state, roles(a, b)], ['live', 'leader,own']);
	a.close();
	await pass(1000);
	const c = open(t);
	await pass(2000);
	server.publish('numbers', 0);
	await pass(0);
	assert.deepEqual([roles(b, c), c.readyState, b.got, c.got, server.streams.size], ['leader,follower', 1, ['0'], ['0'], 1]);
});

test('a log that lost its end: a follower that is ahead of its leader gets the gap too', async (t) => {
	const server = startBrowser(t);
	server.heartbeat = 600_000;
	const a = open(t, { heartbeat: 600_000 });
	await pass(1000);
	server.publish('numbers', 0);
	server.publish('other', ...numbers(10));
	await pass(0);
	const b = open(t, { heartbeat: 600_000 });
	await pass(1000);
	assert.deepEqual([a.lastEventId, b.lastEventId, roles(a, b)], ['e-1', 'e-11', 'leader,follower']);
	const data = JSON.stringify({ requested: 'e-1', first: 'e-1', resumed: 'e-0', reason: 'unknown' });
	server.refuses = () => answer({ retry: 600_000, id: 'e-0' }, { id: 'e-0', type: 'gap', data }, { id: 'e-1', topic: 'numbers', type: 'numbers', data: 'again' });
	server.cut();
	await pass(5000);
	assert.deepEqual([a.got, b.got, a.gaps, b.gaps], [['0', 'again'], ['again'], 1, 1]);
});

test('if the server refuses what all want together, each reads for itself', async (t) => {
	const server = startBrowser(t);
	server.maxTopics = 2;
	const streams = [open(t, { topics: ['a', 'numbers'] })];
	await pass(1000);
	streams.push(open(t, { topics: ['b', 'numbers'] }));
	await pass(5000);
	server.publish('numbers', 0);
	await pass(0);
	assert.deepEqual([roles(...streams), streams.map((s) => s.got), server.streams.size], ['own,own', [['0'], ['0']], 2]);
	for (const s of streams) assert.ok(s.readyState === 1 && !s.said.includes('closed'));
});

test('streams that are not known to read the same have each their own connection', async (t) => {
	const server = startBrowser(t);
	const streams = [
		open(t, { share: false }), open(t, { ticket: 'x' }), open(t, { ticket: 'x', identity: '' }), open(t, { token: 'x' }),
		open(t, { ticket: 'x', identity: 'alice' }), open(t, { ticket: 'y', identity: 'bob' }), open(t),
	];
	await pass(2000);
	assert.deepEqual([roles(...streams), server.streams.size], ['own,own,own,own,leader,leader,leader', 7]);
});

test('without locks or channels each stream has its own connection', async (t) => {
	const server = startBrowser(t);
	Object.defineProperty(navigator, 'locks', { value: undefined, configurable: true });
	const streams = [open(t), open(t)];
	await pass(1000);
	delete navigator.locks;
	navigator.locks = { request: () => Promise.reject(new DOMException('not here', 'SecurityError')) };
	streams.push(open(t));
	await pass(1000);
	globalThis.BroadcastChannel = class { constructor() { throw new DOMException('not here', 'SecurityError'); } };
	streams.push(open(t));
	await pass(1000);
	server.publish('numbers', 0);
	await pass(0);
	assert.deepEqual([roles(...streams), streams.map((s) => s.got.join()).join(), server.streams.size], ['own,own,own,own', '0,0,0,0', 4]);
});
