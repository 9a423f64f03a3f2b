import assert from 'node:assert/strict';
import test from 'node:test';

import { connect } from '../freshet.js';
import { answer, error, jump, Page, pass, startBrowser } from './kit.js';

const url = 'https://server.example/event';

function open(t, options) {
	const s = connect(url, { topics: ['numbers'], ...options });
	Object.assign(s, { got: [], said: [] });
	s.on('>', (e) => s.got.push(e.data));
	s.on('state', ({ state }) => s.said.push(state));
	t.after(() => s.close());
	return s;
}

/** Drops what the server sends on its open streams, as a network does that forgot the connection. */
function silence(server) {
	for (const stream of server.streams) stream.isSilent = true;
}

const wakeUps = {
	visible: (page) => page.become('visible'),
	focus: (page) => page.fire('focus'),
	online: (page) => page.fire('online'),
	resume: (page) => page.fire('resume'),
	'back button': (page) => page.fire('pageshow', { persisted: true }),
};

for (const [name, wakeUp] of Object.entries(wakeUps)) {
	test(`${name}: a dead stream is replaced at once, and nothing is lost or repeated`, async (t) => {
		const server = startBrowser(t);
		const page = new Page(t);
		const s = open(t);
		await pass(1000);
		server.publish('numbers', 0);
		await pass(0);
		silence(server);
		server.publish('numbers', 1, 2);
		await pass(16_000);
		assert.deepEqual([s.got, server.requests.length], [['0'], 1]);
		wakeUp(page);
		await pass(0);
		assert.deepEqual([s.got, s.said], [['0', '1', '2'], ['live', 'reconnecting', 'resumed']]);
		assert.deepEqual([server.requests.length, server.streams.size], [2, 1]);
	});
}

test('a timer that fires much later than it was set: a laptop has slept', async (t) => {
	const server = startBrowser(t);
	new Page(t);
	const s = open(t);
	await pass(1000);
	silence(server);
	server.publish('numbers', 0);
	await jump(20_000);
	await pass(1000);
	assert.deepEqual([s.got, server.requests.length], [['0'], 2]);
});

test('a stream that is alive but quiet is not replaced', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	const s = open(t);
	const wakeUpOften = async (ms) => {
		for (let passed = 0; passed < ms; passed += 1400) {
			for (const wakeUp of Object.values(wakeUps)) wakeUp(page);
			await pass(1400, 700);
		}
	};
	await wakeUpOften(60_000);
	assert.deepEqual([server.requests.length, s.said], [1, ['live']]);

	// Once it has seen that heartbeats are rare it expects no others.
	server.heartbeat = 120_000;
	server.cut();
	await pass(10 * 60_000, 1000);
	const requests = server.requests.length;
	await wakeUpOften(5 * 60_000);
	assert.equal(server.requests.length, requests);
});

test('the first load of a page is no wake-up', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	server.refuses = () => error(502, 'away');
	open(t);
	await pass(500);
	page.fire('pageshow', { persisted: false });
	await pass(0);
	assert.equal(server.requests.length, 1);
});

test('a page that waits for its next attempt makes it, at most once a second', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	const s = open(t);
	await pass(0);
	server.refuses = () => error(502, 'away');
	server.cut();
	while (!(s.detail.until - Date.now() > 5000)) await pass(100);
	const requests = server.requests.length;
	for (let n = 0; n < 10; n++) {
		for (const wakeUp of Object.values(wakeUps)) wakeUp(page);
		await pass(100);
	}
	assert.equal(server.requests.length, requests + 1);
	server.refuses = () => null;
	page.fire('focus');
	await pass(0);
	assert.equal(s.readyState, 1);
});

test('a wait that the server asked for goes on', async (t) => {
	const answers = {
		busy: () => answer({ type: 'busy', retry: 20_000, data: JSON.stringify({ reason: 'full', retry_ms: 20_000 }) }),
		429: () => error(429, 'too fast', { 'Retry-After': '20' }),
		retry: () => answer('retry: 20000', ''),
	};
	for (const [name, refuse] of Object.entries(answers)) {
		await t.test(name, async (t) => {
			const server = startBrowser(t);
			const page = new Page(t);
			server.refuses = refuse;
			open(t);
			for (let passed = 0; passed < 19_000; passed += 1000) {
				page.fire('offline');
				for (const wakeUp of Object.values(wakeUps)) wakeUp(page);
				await pass(1000);
			}
			assert.equal(server.requests.length, 1);
			await pass(2000);
			assert.equal(server.requests.length, 2);
			// The page slept through the wait that began then.
			await jump(60_000);
			page.fire('focus');
			await pass(0);
			assert.equal(server.requests.length, 3);
		});
	}
});

test('a stream ends when the network goes, and begins again when it is back', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	const s = open(t);
	await pass(1000);
	server.refuses = () => Promise.reject(new TypeError('network error'));
	page.fire('offline');
	await pass(30_000, 1000);
	assert.equal(s.state, 'reconnecting');
	assert.ok(server.requests.length > 2, 'it tries meanwhile');
	server.publish('numbers', 0);
	server.refuses = () => null;
	page.fire('online');
	await pass(0);
	assert.deepEqual([s.got, s.state], [['0'], 'resumed']);
});

test('pages that nobody sees wake one after the other', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	const count = 40;
	for (let n = 0; n < count; n++) open(t, { share: false });
	await pass(1000);
	page.become('hidden');
	silence(server);
	await pass(16_000);
	page.fire('online');
	await pass(0);
	assert.equal(server.requests.length, count);
	let most = 0;
	for (let passed = 0; passed < 2000; passed += 100) {
		const before = server.requests.length;
		await pass(100);
		most = Math.max(most, server.requests.length - before);
	}
	assert.equal(server.requests.length, 2 * count);
	assert.ok(most < count / 2, `${most} in a tenth of a second`);
});

test('a hidden page whose timers are late has not slept', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	open(t);
	await pass(1000);
	page.become('hidden');
	silence(server);
	await jump(20_000);
	await pass(1000);
	assert.equal(server.requests.length, 1);
});

test('a page that the browser froze closes everything, and later goes on where it was', async (t) => {
	const server = startBrowser(t);
	const page = new Page(t);
	const s = open(t);
	await pass(1000);
	for (const [sleep, wakeUp] of [['freeze', 'resume'], ['pagehide', 'back button']]) {
		page.fire(sleep);
		await pass(0);
		assert.equal(server.streams.size, 0);
		server.publish('numbers', sleep);
		await pass(60_000, 1000);
		assert.equal(server.streams.size, 0);
		wakeUps[wakeUp](page);
		await pass(1000);
		assert.equal(server.streams.size, 1);
	}
	assert.deepEqual(s.got, ['freeze', 'pagehide']);
});

/** Opens two pages that share a stream. The first leads. */
async function openTwo(t) {
	const pages = [], streams = [];
	for (const role of ['leader', 'follower']) {
		pages.push(new Page(t));
		streams.push(open(t));
		await pass(1000);
		assert.equal(streams.at(-1).role, role);
	}
	return [pages, streams];
}

test('a page in front asks a leader in the background whether its stream lives', async (t) => {
	const server = startBrowser(t);
	const [[leaderPage, page], [leader, s]] = await openTwo(t);
	leaderPage.become('hidden');
	page.become('hidden');
	await pass(10_000);
	page.become('visible');
	await pass(0);
	assert.equal(server.requests.length, 2, 'the stream lives');
	await pass(6000);
	silence(server);
	server.publish('numbers', 0);
	await pass(20_000);
	assert.deepEqual(s.got, []);
	page.become('visible');
	await pass(0);
	assert.deepEqual([s.got, leader.got, s.role, server.streams.size], [['0'], ['0'], 'follower', 1]);
	assert.deepEqual(s.said, ['live', 'reconnecting', 'resumed']);
	await pass(6000);
	assert.deepEqual([s.state, leader.state], ['live', 'live']);
});

test('a page in front replaces a leader that is frozen', async (t) => {
	const server = startBrowser(t);
	const channels = [];
	globalThis.BroadcastChannel = class extends BroadcastChannel {
		constructor(name) {
			super(name);
			channels.push(this);
		}
	};
	const [[, page], [leader, s]] = await openTwo(t);
	// The whole browser sleeps. Then only the page in front goes on.
	const [frozen] = channels, { onmessage } = frozen;
	Object.assign(frozen, { onmessage: null, postMessage() {} });
	silence(server);
	await jump(60_000);
	server.publish('numbers', 0);
	page.become('visible');
	await pass(1000);
	assert.deepEqual([s.got, s.role], [['0'], 'leader']);

	delete frozen.postMessage;
	frozen.onmessage = onmessage;
	await pass(60_000);
	server.publish('numbers', 1);
	await pass(0);
	assert.deepEqual([s.got, leader.got, s.role, leader.role], [['0', '1'], ['0', '1'], 'leader', 'follower']);
	assert.equal(server.streams.size, 1);
});
