import assert from 'node:assert/strict';
import test from 'node:test';

import { Credential } from '../freshet/credential.js';
import { pass, startBrowser, ticket } from './kit.js';

const hour = 3_600_000;

/** Collects the moments of fetches, in ms from now, and of renewals. */
function credentialOf(fetch) {
	const begun = Date.now();
	const fetched = [], renewed = [];
	const credential = new Credential(async () => {
		fetched.push(Date.now() - begun);
		return fetch(fetched.length);
	}, () => renewed.push(Date.now() - begun));
	return { credential, fetched, renewed };
}

test('a ticket is renewed once most of its life is over, each time', async (t) => {
	startBrowser(t);
	const moments = new Set();
	for (let client = 0; client < 10; client++) {
		const { credential, fetched, renewed } = credentialOf((n) => ticket(hour, `ticket ${n}`));
		const first = await credential.get();
		assert.equal(await credential.get(), first);
		await pass(hour * 0.69, 10_000);
		assert.deepEqual(fetched, [0]);
		await pass(hour * 0.22, 1000);
		assert.deepEqual([fetched.length, renewed.length], [2, 1]);
		assert.notEqual(await credential.get(), first);
		moments.add(fetched[1]);
		await pass(hour, 10_000);
		assert.deepEqual([fetched.length, renewed.length], [3, 2]);
		credential.stopRenewing();
		await pass(hour, 10_000);
		assert.equal(fetched.length, 3);
	}
	assert.ok(moments.size > 5, `clients renew at the same moments: ${[...moments]}`);
});

test('while fetching fails, the ticket stays and the pauses grow', async (t) => {
	startBrowser(t);
	let works = true;
	const { credential, fetched, renewed } = credentialOf((n) => {
		if (!works) throw new Error('no ticket today');
		return ticket(hour, `ticket ${n}`);
	});
	const first = await credential.get();
	works = false;
	await pass(hour * 0.99, 500);
	assert.equal(await credential.get(), first);
	const pauses = fetched.slice(2).map((at, i) => at - fetched[i + 1]);
	assert.ok(pauses.length > 3 && pauses[0] <= 1500 && pauses.every((pause) => pause <= 30_500) && pauses.at(-1) >= 15_000, `pauses of ${pauses} ms`);
	works = true;
	await pass(35_000, 500);
	assert.equal(renewed.length, 1);
	assert.notEqual(await credential.get(), first);
});

test('a source that returns the same ticket again is asked later, and its ticket is not used after its end', async (t) => {
	startBrowser(t);
	let current = ticket(60_000, 'cached');
	const { credential, fetched, renewed } = credentialOf(() => current);
	await credential.get();
	await pass(59_000);
	assert.ok(fetched.length > 2 && fetched.length < 15, `${fetched.length} fetches`);
	assert.equal(renewed.length, 0);
	await pass(31_000);
	const before = fetched.length;
	await pass(hour, 10_000);
	assert.equal(fetched.length, before, 'fetches after its end, while nothing asks');
	current = ticket(60_000, 'next');
	assert.equal(await credential.get(), current);
});

test('a ticket is fetched again only on demand if its expiry is unknown', async (t) => {
	startBrowser(t);
	for (const value of ['opaque', 'a.b.c', '', ticket(-hour), `x.${Buffer.from('{"exp":"soon"}').toString('base64url')}.y`]) {
		const { credential, fetched } = credentialOf(() => value);
		assert.equal(await credential.get(), value);
		await pass(2 * hour, 60_000);
		assert.equal(await credential.get(), value);
		assert.deepEqual(fetched, [0]);
		credential.discard();
		assert.ok(credential.isMissing);
		await credential.get();
		assert.equal(fetched.length, 2);
	}
});

test('a ticket that a request fetches while one is being renewed wins', async (t) => {
	startBrowser(t);
	let release;
	const { credential, renewed } = credentialOf((n) => (n === 2 ? new Promise((done) => { release = done; }) : ticket(60_000, `ticket ${n}`)));
	await credential.get();
	await pass(55_000);
	credential.discard();
	const third = await credential.get();
	release('late');
	await pass(1000);
	assert.equal(await credential.get(), third);
	assert.equal(renewed.length, 0);
});

test('a timer is never longer than browsers can wait', async (t) => {
	startBrowser(t);
	const setTimer = t.mock.method(globalThis, 'setTimeout');
	const { credential } = credentialOf(() => ticket(1000 * 24 * hour));
	await credential.get();
	assert.deepEqual(setTimer.mock.calls.map((call) => call.arguments[1]), [2 ** 31 - 1]);
});

test('a string is never renewed', async (t) => {
	startBrowser(t);
	const value = ticket(60_000);
	const credential = new Credential(value, () => assert.fail('renewed'));
	assert.equal(credential.isRenewable, false);
	await credential.get();
	await pass(120_000, 1000);
	assert.equal(await credential.get(), value);
});
