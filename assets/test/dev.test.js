import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { once } from 'node:events';
import test from 'node:test';

import { serve } from '../dev.js';

async function listen(t, server) {
	await once(server.listen(0, '127.0.0.1'), 'listening');
	t.after(() => {
		server.close();
		server.closeAllConnections();
	});
	return new URL(`http://127.0.0.1:${server.address().port}`);
}

test('files come from disk, and everything else from the server', async (t) => {
	const target = await listen(t, http.createServer((request, response) => {
		const { host, origin } = request.headers;
		response.writeHead(201, { 'Content-Type': 'text/event-stream' }).write(JSON.stringify([request.method, request.url, host, origin])); // and stays open
	}));
	const here = await listen(t, serve(target));
	const module = await fetch(new URL('/assets/dashboard/page.js', here));
	assert.equal(module.headers.get('Content-Type'), 'text/javascript');
	assert.equal(await module.text(), await readFile(new URL('../dashboard/page.js', import.meta.url), 'utf8'));
	const page = await (await fetch(here)).text();
	assert.ok(page.includes('assets/dashboard/page.js') && !page.includes('{{'));
	for (const path of ['/assets/none.js', '/assets/..%2fgo.mod']) assert.equal((await fetch(new URL(path, here))).status, 404);

	const stream = await fetch(new URL('/event/news?x=1', here), { method: 'POST', headers: { Origin: here.origin }, body: 'data' });
	assert.equal(stream.status, 201);
	const { value } = await stream.body.getReader().read();
	assert.deepEqual(JSON.parse(new TextDecoder().decode(value)), ['POST', '/event/news?x=1', target.host, target.origin]);

	const away = await listen(t, serve(new URL('http://127.0.0.1:1')));
	assert.equal((await fetch(new URL('/event', away))).status, 502);
});
