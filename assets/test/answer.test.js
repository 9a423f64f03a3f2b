import assert from 'node:assert/strict';
import test from 'node:test';

import { answer } from '../freshet.js';
import { answer as response, error, pass, startBrowser } from './kit.js';

const url = 'https://server.example/event';

/** Collects the pieces, and lets fake time pass meanwhile. */
async function collect(pieces) {
	const got = [];
	const reading = (async () => { for await (const piece of pieces) got.push(piece); })().then(() => got, (err) => err.message);
	await pass(20_000);
	return reading;
}

test('an answer is whole after a lost connection, and ends', async (t) => {
	const server = startBrowser(t);
	server.publish('answers.1', 'The ', 'answer ');
	const a = answer('answers.1', { url });
	const reading = collect(a);
	await pass(0);
	assert.equal(server.requests[0].searchParams.get('merge'), 'text');
	server.cut();
	server.publish('answers.1', 'is ', '42.');
	server.publish('answers.2', 'of somebody else');
	await pass(5000);
	server.publishAs('end', 'answers.1', '{"topic":"answers.1"}');
	assert.deepEqual(await reading, ['The ', 'answer ', 'is ', '42.']);
	assert.deepEqual([a.text, server.streams.size], ['The answer is 42.', 0]);
});

test('an answer of lines has line breaks between its pieces', async (t) => {
	const server = startBrowser(t);
	server.publish('answers.1', '{"n":1}\n{"n":2}', '{"n":3}');
	server.publishAs('end', 'answers.1', '{"topic":"answers.1"}');
	const a = answer('answers.1', { url, merge: 'lines' });
	assert.deepEqual(await collect(a), ['{"n":1}\n{"n":2}', '{"n":3}']);
	assert.equal(server.requests[0].searchParams.get('merge'), 'lines');
	assert.equal(a.text, '{"n":1}\n{"n":2}\n{"n":3}');
});

test('as a ReadableStream', async (t) => {
	const server = startBrowser(t);
	server.publish('answers.1', 'a', 'b');
	server.publishAs('end', 'answers.1', '{"topic":"answers.1"}');
	assert.deepEqual(await collect(answer('answers.1', { url }).readable), ['a', 'b']);
	const a = answer('answers.1', { url });
	const reader = a.readable.getReader();
	await pass(0);
	await reader.cancel();
	await pass(0);
	assert.equal(server.streams.size, 0);
});

test('an answer that is not whole is an error', async (t) => {
	const server = startBrowser(t);
	server.refuses = () => error(403, 'you may not read this');
	assert.equal(await collect(answer('answers.1', { url })), 'you may not read this');
	server.refuses = () => response({ retry: 1000, id: 'e-1' }, { id: 'e-1', type: 'gap', data: '{"reason":"expired"}' });
	const a = answer('answers.1', { url });
	assert.equal(await collect(a), 'the beginning of the answer is gone');
	assert.equal(await collect(a), 'the answer is being read already');
	server.refuses = () => new Response(null, { status: 204 });
	assert.deepEqual(await collect(answer('answers.1', { url })), []);
});

test('close ends the loop', async (t) => {
	const server = startBrowser(t);
	server.publish('answers.1', 'half');
	const a = answer('answers.1', { url });
	const reading = collect(a);
	await pass(0);
	a.close();
	assert.deepEqual(await reading, ['half']);
	assert.equal(server.streams.size, 0);
});

test('stop publishes to the topic of the stop button', async (t) => {
	const server = startBrowser(t);
	server.publish('answers.1', 'half');
	const asked = [];
	const answers = [() => new Response('{}', { status: 201 }), () => error(403, 'not yours'), () => new Response('', { status: 502 })];
	const { fetch } = globalThis;
	globalThis.fetch = async (url, init) => {
		if (init.method !== 'POST') return fetch(url, init);
		asked.push(`${url.pathname}${url.search} ${init.headers.Authorization ?? ''}`);
		return answers.shift()();
	};
	const a = answer('answers.1', { url, stopTicket: async () => 'a ticket', token: 'a token' });
	await assert.rejects(a.stop(), /is not being read/);
	const reading = collect(a);
	await pass(0);
	await a.stop();
	await assert.rejects(a.stop(), /not yours/);
	await assert.rejects(a.stop(), /answered 502/);
	a.close();
	assert.deepEqual(await reading, ['half']);
	assert.deepEqual(asked, Array(3).fill('/event/answers.1.stop?ticket=a+ticket '));
});
