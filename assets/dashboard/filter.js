// What the feed shows: the events of a topic or pattern, that have a text. It marks in each row what it has found.

import { matches } from '../freshet/pattern.js';
import { element } from './dom.js';

const deep = 30; // characters before a match, above which the row begins near it
const before = 12; // characters that stay before it
const maxDepth = 5000; // of a match that the row shows

/** problemOf says what is wrong with a pattern, or returns the empty string. */
export function problemOf(pattern) {
	const segments = pattern.split('.'), last = segments.length - 1;
	for (const [i, segment] of segments.entries()) {
		if (!segment) return pattern && 'a segment is empty: remove a dot';
		if (segment === '*' || segment === '>' && i === last) continue;
		if (segment === '>') return '> stands at the end only: it matches all further segments';
		if (/[*>]/.test(segment)) return `${segment.includes('*') ? '*' : '>'} stands for a whole segment, not for a part as in ${segment}`;
		const bad = /[ /\p{C}\p{Z}]/u.exec(segment);
		if (bad) return `a topic has no ${bad[0].trim() || 'space'}`;
	}
	return '';
}

export class Filter {
	pattern = '';
	text = '';

	/** A pattern with a problem selects nothing, so it changes nothing. */
	set({ pattern = this.pattern, text = this.text }) {
		if (!problemOf(pattern)) this.pattern = pattern;
		this.text = text.trim().toLowerCase();
	}

	get isSet() { return this.pattern !== '' || this.text !== ''; }

	matches({ topic, type, data }) {
		if (this.pattern && !matches(this.pattern, topic)) return false;
		return !this.text || [topic, type, data].some((s) => s.toLowerCase().includes(this.text));
	}

	/** Returns where the row's data begins and ends, so that it shows the text. */
	range(data, most) {
		const at = this.text ? data.slice(0, maxDepth).toLowerCase().indexOf(this.text) : -1;
		const from = at > deep ? at - before : 0;
		return [from, from + most];
	}

	/** Marks the text in the cells, and the topic if the pattern has selected it. */
	mark(topic, ...cells) {
		if (this.pattern) topic.replaceChildren(element('mark', 'whole', topic.textContent));
		if (this.text) for (const cell of this.pattern ? cells : [topic, ...cells]) this.#markText(cell);
	}

	// A match may begin in one coloured part of the JSON and end in another.
	#markText(cell) {
		const all = cell.textContent.toLowerCase(), found = [];
		for (let at = all.indexOf(this.text); at >= 0; at = all.indexOf(this.text, at + this.text.length)) found.push([at, at + this.text.length]);
		if (!found.length) return;
		const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), nodes = [];
		while (walker.nextNode()) nodes.push(walker.currentNode);
		let start = 0;
		for (const node of nodes) {
			const { data } = node, parts = [];
			let done = 0;
			for (const [from, to] of found) {
				const [a, b] = [Math.max(from - start, 0), Math.min(to - start, data.length)];
				if (a >= b) continue;
				parts.push(data.slice(done, a), element('mark', '', data.slice(a, b)));
				done = b;
			}
			start += data.length;
			if (parts.length) node.replaceWith(...parts, data.slice(done));
		}
	}
}
