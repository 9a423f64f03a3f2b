// JSON as its publisher wrote it, coloured and folded. It is not parsed and written again, so that long numbers and repeated keys stay.

import { element } from './dom.js';

const lexeme = /"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g;
const maxTokens = 5000; // longer JSON is shown as text
const unfoldedUpTo = 400; // characters

const kind = (text, key) => (key ? 'key' : text[0] === '"' ? 'string' : '');

/** coloured returns nodes for text that looks like JSON, or the text itself. */
export function coloured(text) {
	if (!/^\s*[[{]/.test(text)) return [text];
	const out = [];
	let at = 0;
	for (const { 0: token, index } of text.matchAll(lexeme)) {
		if (token[0] !== '"') continue;
		out.push(text.slice(at, index), element('span', kind(token, /^\s*:/.test(text.slice(index + token.length))), token));
		at = index + token.length;
	}
	return [...out, text.slice(at)];
}

/** tree returns an element that folds the parts of the JSON, or null if the text is not JSON. */
export function tree(text) {
	if (text.length > 1 << 18 || !/^\s*[[{]/.test(text)) return null;
	try {
		JSON.parse(text);
	} catch {
		return null;
	}
	const tokens = text.match(lexeme);
	if (tokens.length > maxTokens) return null;
	let i = 0;
	const value = (depth) => {
		const open = tokens[i++];
		const comma = () => (tokens[i] === ',' ? ',' : '');
		if (open !== '{' && open !== '[') return element('span', '', element('span', kind(open), open), comma());
		const close = open === '{' ? '}' : ']';
		if (tokens[i] === close) return element('span', '', open + tokens[i++], comma());
		const inside = element('div', 'inside');
		let n = 0;
		for (; tokens[i - 1] !== close; n++) {
			const row = element('div');
			if (open === '{') {
				row.append(element('span', kind('', true), tokens[i]), ': ');
				i += 2;
			}
			row.append(value(depth + 1));
			i++;
			inside.append(row);
		}
		const box = element('details', 'json');
		box.open = depth === 0 || text.length < unfoldedUpTo;
		box.append(element('summary', '', open, element('span', 'folded', ` ${n} ${close}`)), inside, close + comma());
		return box;
	};
	return value(0);
}
