import assert from 'node:assert/strict';
import test from 'node:test';

import { hasReached } from '../freshet/cursor.js';
import { matches, union } from '../freshet/pattern.js';

test('patterns match topics', () => {
	for (const [pattern, topic, want] of [
		['news', 'news', true], ['news', 'new', false], ['*', 'news', true], ['*', 'a.b', false], ['a.*', 'a.b', true], ['a.*', 'a', false],
		['*.b', 'a.b', true], ['>', 'a.b.c', true], ['a.>', 'a.b.c', true], ['a.>', 'a', false], ['a.*.c', 'a.b.c', true], ['a.*.c', 'a.b.d', false],
		['>', 'counter', false], ['*', 'stats', false], ['counter', 'counter', true], ['a.>.c', 'a.b.c', false],
	]) assert.equal(matches(pattern, topic), want, `${pattern} and ${topic}`);
});

test('the topics of all tabs', () => {
	for (const [lists, want] of [
		[[[]], []], [[[], []], []], [[['b', 'a'], ['a']], ['a', 'b']], [[['a'], []], ['>', 'counter']],
		[[['a', 'stats'], ['>']], ['>', 'stats']], [[['a.*'], ['counter']], ['a.*', 'counter']],
	]) assert.deepEqual(union(lists), want);
});

test('IDs have an order within one log', () => {
	for (const [cursor, id, want] of [['e-9', 'e-10', false], ['e-10', 'e-9', true], ['e-9', 'e-9', true], ['f-10', 'e-9', false], ['', 'e-1', false]]) {
		assert.equal(hasReached(cursor, id), want, `${cursor} and ${id}`);
	}
});
