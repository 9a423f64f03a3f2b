import assert from 'node:assert/strict';
import test from 'node:test';

import { connect, Stream } from '../freshet.js';
import { answer, error, pass, startBrowser, ticket } from './kit.js';

const url = 'https://server.example/event';
const minute = 60_000;

/** Opens a stream, and collects what it dispatches. */
function open(t, options) {
	const s = connect(url, { topics: ['news'], share: false, ...options });
	Object.assign(s, { got: [], said: [], expired: 0 });
	s.on('>', (e) => s.got.push(e.data));
	s.on('auth-expired', () => s.expired++);
	s.on('state', ({ state, events, reason }) => s.said.push([state, events, reason].filter((word) => word !== undefined).join(' ')));
	t.after(() => s.close());
	return s;
}

test('states and cursor', async (t) => {
	const server = startBrowser(t);
	const s = open(t);
	await pass(0);
	server.publish('news', 1);
	await pass(0);
	server.cut();
	server.publish('news', 2, 3);
	server.publish('other', 'not asked for');
	await pass(0);
	assert.deepEqual([s.state, s.readyState, s.detail.wait], ['reconnecting', 0, server.retry]);
	await pass(3000);
	assert.deepEqual([s.state, s.readyState, s.lastEventId], ['resumed', 1, 'e-3']);
	await pass(10_000);
	assert.deepEqual(s.said, ['live', 'reconnecting network error', 'resumed 0', 'resumed 2', 'live']);
	assert.deepEqual(s.got, ['1', '2', '3']);
	s.close();
	assert.deepEqual([s.state, s.readyState, server.streams.size], ['closed', Stream.CLOSED, 0]);
});

test('after close a stream says nothing, even if a listener closes it', async (t) => {
	startBrowser(t);
	const s = open(t);
	s.onopen = s.onerror = (e) => s.said.push(e.type);
	s.on('state', ({ state }) => { if (state === 'live') s.close(); });
	await pass(minute, 1000);
	assert.deepEqual(s.said, ['live', 'closed']);
});

test('a slow loop gets the newest events, and a gap for the others', async (t) => {
	const server = startBrowser(t);
	const s = open(t, { queue: 2 });
	const loop = s[Symbol.asyncIterator]();
	const first = loop.next();
	await pass(0);
	server.publish('news', 0);
	assert.equal((await first).value.data, '0');
	server.publish('news', 1, 2, 3, 4, 5);
	await pass(0);
	const gap = (await loop.next()).value;
	assert.deepEqual([gap.type, gap.json()], ['gap', { requested: 'e-1', first: 'e-5', resumed: 'e-4', reason: 'overflow', events: 3 }]);
	assert.deepEqual([(await loop.next()).value.data, (await loop.next()).value.data], ['4', '5']);
	s.close();
	assert.ok((await loop.next()).done);
});

test('a refused stream ends its loop with the reason', async (t) => {
	const server = startBrowser(t);
	server.refuses = () => error(400, 'the topic is not valid');
	const s = open(t);
	const loop = assert.rejects((async () => { for await (const e of s) assert.fail(e); })(), /the topic is not valid/);
	await pass(0);
	await loop;
	assert.deepEqual([s.state, s.detail.status], ['closed', 400]);
});

test('the next ticket takes over without a flicker, a loss or a repetition', async (t) => {
	const server = startBrowser(t);
	let fetched = 0;
	const s = open(t, { ticket: async () => ticket(minute, `ticket ${++fetched}`) });
	const used = new Set();
	await pass(0);
	for (let n = 0; n < 600; n++) {
		server.publish('news', n);
		await pass(500);
		for (const stream of server.streams) used.add(stream.ticket);
		assert.ok(server.streams.size <= 1);
	}
	assert.ok(fetched >= 6 && fetched <= 8, `${fetched} tickets in five minutes`);
	assert.equal(used.size, fetched);
	assert.deepEqual(s.said, ['live']);
	assert.deepEqual(s.got, Array.from({ length: 600 }, (_, n) => String(n)));
});

test('events that come while the next stream opens are dispatched once', async (t) => {
	const server = startBrowser(t);
	let fetched = 0;
	server.refuses = () => new Promise((done) => setTimeout(done, 300)); // a slow network
	const s = open(t, { ticket: async () => ticket(10_000, `ticket ${++fetched}`) });
	await pass(1000);
	for (let n = 0; n < 600; n++) {
		server.publish('news', n);
		await pass(100);
	}
	assert.ok(fetched >= 6, `${fetched} tickets in a minute`);
	assert.deepEqual(s.said, ['live']);
	assert.deepEqual(s.got, Array.from({ length: 600 }, (_, n) => String(n)));
});

test('a backend that is away for a while costs nothing before the ticket ends, and events are late after that', async (t) => {
	const server = startBrowser(t);
	let fetched = 0, works = true;
	const s = open(t, {
		ticket: async () => {
			fetched++;
			if (!works) throw new Error('no ticket today');
			return ticket(minute, `ticket ${fetched}`);
		},
	});
	await pass(0);
	works = false;
	await pass(58_000);
	assert.deepEqual([s.said, s.state], [['live'], 'live']);
	await pass(2000);
	server.end('auth-expired'); // at the ticket's exp
	server.publish('news', 1);
	await pass(30_000);
	assert.deepEqual([s.expired, s.state, s.detail.reason], [1, 'reconnecting', 'no ticket today']);
	assert.ok(fetched < 15, `${fetched} fetches`);
	works = true;
	await pass(30_000);
	assert.deepEqual([s.got, s.readyState], [['1'], 1]);
});

test('after auth-expired another ticket is fetched at once, whatever its form', async (t) => {
	const server = startBrowser(t);
	let fetched = 0;
	const s = open(t, { ticket: async () => `of an own proxy ${++fetched}` });
	await pass(10 * minute, 1000);
	assert.equal(fetched, 1);
	server.publish('news', 1);
	await pass(0);
	server.end('auth-expired');
	server.publish('news', 2);
	await pass(0);
	assert.deepEqual([fetched, s.got, s.said.slice(0, 3)], [2, ['1', '2'], ['live', 'auth-expired the right to read has ended', 'resumed 0']]);
});

test('a library may return an old ticket for a while', async (t) => {
	const server = startBrowser(t);
	let old = 1;
	const s = open(t, { ticket: async () => (old-- > 0 ? 'old' : 'new') });
	await pass(10_000);
	server.refuses = (request) => (request.searchParams.get('ticket') === 'old' ? error(401, 'the ticket is not valid here') : null);
	old = 2;
	server.end('auth-expired');
	server.publish('news', 1);
	await pass(30_000);
	assert.deepEqual([s.got, s.expired, old, s.readyState], [['1'], 1, -1, 1]);
});

test('a ticket or token that the server accepts is used again, and one that it refuses is not', async (t) => {
	const server = startBrowser(t);
	for (const kind of ['ticket', 'token']) {
		let fetched = 0;
		const s = open(t, { [kind]: async () => `${kind} ${++fetched}` });
		await pass(0);
		for (let cuts = 0; cuts < 3; cuts++) {
			server.cut();
			await pass(10_000);
		}
		assert.deepEqual([fetched, s.readyState], [1, 1]);
		server.refuses = () => (fetched < 2 ? error(401, 'not valid') : null);
		server.cut();
		await pass(10_000);
		assert.deepEqual([fetched, s.readyState], [2, 1]);
		server.refuses = () => error(401, 'not valid');
		server.cut();
		await pass(minute);
		assert.deepEqual([s.state, s.detail], ['closed', { reason: 'not valid', status: 401 }]);
		server.refuses = () => null;
	}
});

test('a gap says where the stream resumes', async (t) => {
	const server = startBrowser(t);
	const gap = { requested: 'd-7', first: 'e-3', resumed: 'e-2', reason: 'epoch' };
	const data = JSON.stringify(gap);
	server.refuses = () => answer({ retry: 1000, id: 'd-7' }, { id: 'e-2', type: 'gap', data }, { id: 'e-3', topic: 'news', type: 'news', data: 'three' });
	const s = open(t, { since: 'd-7' });
	const gaps = [];
	s.on('gap', (e) => gaps.push(e.json()));
	await pass(500);
	assert.deepEqual([gaps, s.got, s.lastEventId, s.said[1]], [[gap], ['three'], 'e-3', 'gap 0']);
});

test('a module that came from no server needs a URL', () => {
	assert.throws(() => connect({ topics: ['news'] }), /connect needs a URL/);
	assert.throws(() => new Stream(), /connect needs a URL/);
});

test('a topic ends, or is purged', async (t) => {
	const server = startBrowser(t);
	const lines = [
		{ retry: 1000, id: 'e-0' },
		{ id: 'e-3', topic: 'news', type: 'gap', data: JSON.stringify({ requested: '', first: 'e-3', resumed: 'e-3', reason: 'purged', topic: 'news' }) },
		{ id: 'e-4', topic: 'news', type: 'news', data: 'again' },
		{ id: 'e-5', topic: 'news', type: 'end', data: '{"topic":"news"}' },
	];
	server.refuses = () => server.requests.length > 1 ? new Response(null, { status: 204 }) : answer(...lines);
	const s = open(t);
	const gaps = [];
	s.on('gap', (e) => gaps.push(e.json().topic));
	const types = [];
	for await (const e of pastTime(s)) types.push(e.type);
	assert.deepEqual(types, ['gap', 'news', 'end']);
	assert.deepEqual([gaps, s.got], [['news'], ['again', '{"topic":"news"}']]);
	assert.deepEqual([s.state, s.detail.reason, s.lastEventId], ['closed', 'the topics have ended', 'e-5']);
});

/** Yields what the stream yields, and lets fake time pass meanwhile. */
async function* pastTime(s) {
	const loop = s[Symbol.asyncIterator]();
	for (;;) {
		const next = loop.next();
		await pass(5000);
		const { value, done } = await next;
		if (done) return;
		yield value;
	}
}
