import assert from 'node:assert/strict';
import test from 'node:test';

import { Connection } from '../freshet/connection.js';
import { answer, error, jump, pass, startBrowser } from './kit.js';

const minute = 60_000;

/** Opens a connection, and collects what it tells its owner. */
function open(t, server, options = {}) {
	const seen = { data: [], states: [], refusals: [], waits: [], renewals: 0 };
	let cursor = '';
	const connection = new Connection({
		heartbeat: 15_000,
		request: async () => [new URL(`https://server.example/event${cursor && `?last_event_id=${cursor}`}`), {}],
		onLines(lines) {
			for (const line of lines) {
				cursor = line.id ?? cursor;
				if (line.data !== undefined) seen.data.push(line.data);
			}
		},
		onStatus({ state, wait, reason, status }) {
			seen.states.push([state, status, reason].filter(Boolean).join(' '));
			if (wait) seen.waits.push(wait);
		},
		renewCredential() {
			seen.renewals++;
			return true;
		},
		onRefused: (refusal) => seen.refusals.push(refusal),
		...options,
	});
	t.after(() => connection.close());
	return { connection, seen };
}

test('it resumes after a broken stream, a 502 and an answer that is not a stream', async (t) => {
	const server = startBrowser(t);
	const { seen } = open(t, server);
	await pass(0);
	server.publish('news', 1);
	await pass(0);
	server.refuses = () => new Response('away', { status: 502, statusText: 'Bad Gateway' });
	server.cut();
	server.publish('news', 2);
	await pass(10_000);
	server.refuses = () => new Response('<p>back soon', { headers: { 'Content-Type': 'text/html' } });
	await pass(30_000);
	server.refuses = () => null;
	await pass(30_000);
	server.publish('news', 3);
	await pass(0);
	assert.deepEqual(seen.data, ['1', '2', '3']);
	assert.deepEqual(seen.refusals, []);
	assert.deepEqual([...new Set(seen.states)], [
		'live', 'reconnecting network error', 'reconnecting 502 the server answered 502 Bad Gateway', 'reconnecting 200 the answer is not an event stream',
	]);
	assert.equal(seen.states.at(-1), 'live');
});

test('waits double up to 30 seconds, half of them random, and begin again after a stream', async (t) => {
	const server = startBrowser(t);
	const { seen } = open(t, server);
	await pass(0);
	server.refuses = () => error(503, 'busy');
	server.cut();
	await pass(5 * minute, 200);
	assert.equal(seen.waits[0], server.retry);
	for (const [i, wait] of seen.waits.entries()) {
		const full = Math.min(30_000, server.retry * 2 ** i);
		assert.ok(wait >= Math.max(server.retry, full / 2) && wait <= full, `wait ${i} has ${wait} ms`);
	}
	assert.ok(new Set(seen.waits.slice(4).map(Math.round)).size > 3, `no jitter: ${seen.waits}`);
	server.refuses = () => null;
	await pass(30_000);
	server.cut();
	await pass(0);
	assert.equal(seen.waits.at(-1), server.retry);
});

test('it waits as long as a server asks for', async (t) => {
	const server = startBrowser(t);
	server.refuses = () => error(429, 'too fast', { 'Retry-After': '120' });
	const { seen } = open(t, server);
	await pass(119_000);
	assert.equal(server.requests.length, 1);
	server.refuses = () => answer('retry: 40000', ''); // from a full server
	await pass(2000);
	assert.equal(server.requests.length, 2);
	await pass(37_000);
	assert.equal(server.requests.length, 2);
	await pass(4000);
	assert.equal(server.requests.length, 3);
	assert.ok(!seen.states.includes('live'));
});

test('a busy server says why and how long to wait, and is not taken for a stream', async (t) => {
	const server = startBrowser(t);
	const { seen } = open(t, server);
	await pass(0);
	server.publish('news', 1);
	await pass(0);
	const waits = [20_000, 3000, 40_000], left = [...waits];
	server.refuses = () => {
		const ms = left.shift();
		return ms ? answer({ type: 'busy', retry: ms, data: JSON.stringify({ reason: 'draining', retry_ms: ms }) }) : null;
	};
	server.cut();
	await pass(server.retry + 63_000 - 100);
	assert.deepEqual([seen.waits, server.requests.length], [[server.retry, ...waits], 4]);
	await pass(200);
	assert.equal(server.requests.length, 5);
	assert.deepEqual([...new Set(seen.states)], ['live', 'reconnecting network error', 'reconnecting the server is busy: draining']);
	assert.equal(server.requests.at(-1).searchParams.get('last_event_id'), 'e-1', 'the cursor stays');

	// The next wait is that of a stream. An event of a topic may have the type busy.
	server.publish('busy', 2);
	server.cut();
	await pass(0);
	assert.deepEqual([seen.data, seen.waits.at(-1)], [['1', '2'], server.retry]);
});

test('a server that refuses for good ends it, with its own words', async (t) => {
	const server = startBrowser(t);
	for (const [status, isFinal] of [[204, true], [400, true], [403, true], [404, true], [409, true], [410, true], [408, false], [425, false], [429, false], [500, false], [503, false]]) {
		server.refuses = () => (status === 204 ? new Response(null, { status }) : error(status, 'because'));
		const { connection, seen } = open(t, server);
		await pass(0);
		const reason = status === 204 ? 'the topics have ended' : 'because';
		assert.deepEqual(seen.refusals, isFinal ? [{ reason, status }] : [], `status ${status}`);
		const requests = server.requests.length;
		await pass(minute, 1000);
		assert.equal(server.requests.length > requests, !isFinal, `status ${status}`);
		connection.close();
	}
});

test('three refused credentials in a row end it', async (t) => {
	const server = startBrowser(t);
	server.refuses = () => error(401, 'not valid');
	const { seen } = open(t, server);
	await pass(0);
	assert.equal(server.requests.length, 2, 'another one is tried at once');
	await pass(1000);
	assert.equal(server.requests.length, 2, 'but not again and again');
	await pass(minute);
	assert.deepEqual([server.requests.length, seen.renewals, seen.refusals], [3, 3, [{ reason: 'not valid', status: 401 }]]);
});

test('a silent connection is replaced after two and a half heartbeats', async (t) => {
	const server = startBrowser(t);
	const { seen } = open(t, server);
	await pass(5 * minute, 1000);
	assert.equal(server.requests.length, 1, 'heartbeats keep it');
	for (const stream of server.streams) stream.isSilent = true;
	server.publish('news', 1);
	await pass(36_000, 1000);
	assert.equal(server.requests.length, 1);
	await pass(5000, 1000);
	assert.deepEqual([server.requests.length, seen.data], [2, ['1']]);
	assert.ok(seen.states.includes('reconnecting the server sent nothing for too long'));
});

test('a server with rare heartbeats gets more patience', async (t) => {
	const server = startBrowser(t);
	server.heartbeat = 2 * minute;
	open(t, server);
	await pass(30 * minute, 1000);
	const requests = server.requests.length;
	assert.ok(requests < 8, `${requests} requests in half an hour`);
	await pass(60 * minute, 1000);
	assert.equal(server.requests.length, requests);
});

test('the silence of a laptop that slept teaches nothing', async (t) => {
	const server = startBrowser(t);
	const { seen } = open(t, server);
	await pass(0);
	await jump(60 * minute);
	for (const stream of server.streams) stream.write({ id: server.cursor });
	await pass(0);
	const requests = server.requests.length;
	for (const stream of server.streams) stream.isSilent = true;
	await pass(90_000, 500);
	assert.ok(server.requests.length > requests, `after the sleep it waits longer: ${seen.states}`);
});

test('restart asks at once, from the cursor, and says nothing of it', async (t) => {
	const server = startBrowser(t);
	const { connection, seen } = open(t, server);
	await pass(0);
	server.publish('news', 1, 2);
	await pass(0);
	connection.restart();
	await pass(0);
	server.publish('news', 3);
	await pass(0);
	assert.deepEqual([seen.data, seen.states.filter((state) => state !== 'live'), server.streams.size], [['1', '2', '3'], [], 1]);
	assert.equal(server.requests.at(-1).searchParams.get('last_event_id'), 'e-2');
});

test('replace opens the next stream before it ends the current one', async (t) => {
	const server = startBrowser(t);
	const { connection, seen } = open(t, server);
	await pass(0);
	server.publish('news', 1);
	await pass(0);
	let admit;
	server.refuses = () => new Promise((done) => { admit = () => done(null); });
	connection.replace();
	await pass(5000);
	server.publish('news', 2);
	await pass(0);
	assert.deepEqual(seen.data, ['1', '2'], 'the current stream goes on');
	admit();
	await pass(0);
	assert.equal(server.streams.size, 1);
	server.publish('news', 3);
	await pass(0);
	assert.deepEqual(seen.data, ['1', '2', '2', '3'], 'the next one starts at the cursor of its request');
	assert.deepEqual([...new Set(seen.states)], ['live']);
	connection.close();
	assert.equal(server.streams.size, 0);
});

test('a stream stays if the next one is refused, and may end while that is on its way', async (t) => {
	const server = startBrowser(t);
	const { connection, seen } = open(t, server);
	await pass(0);
	for (const refusal of [() => error(401, 'not valid'), () => error(400, 'no'), () => Promise.reject(new TypeError('network error'))]) {
		server.refuses = refusal;
		connection.replace();
		await pass(10_000);
	}
	assert.deepEqual([server.streams.size, seen.states, seen.refusals, seen.renewals], [1, ['live'], [], 0]);

	let admit;
	server.refuses = () => new Promise((done) => { admit = () => done(null); });
	connection.replace();
	await pass(0);
	server.refuses = () => null;
	server.cut();
	await pass(server.retry);
	assert.equal(server.unanswered, 0, 'the one that is not needed is still on its way');
	admit();
	await pass(1000);
	server.publish('news', 1);
	await pass(0);
	assert.deepEqual([seen.data, server.streams.size, seen.states.at(-1)], [['1'], 1, 'live']);

	server.refuses = () => new Promise(() => {});
	connection.replace();
	await pass(0);
	connection.close();
	await pass(minute, 1000);
	assert.equal(server.streams.size, 0);
});
