// The open streams, for operators. The page asks for them while the view is visible.

import { $, button, element, write } from './dom.js';
import { age, bytes, group, here, plural, rate, span } from './format.js';
import { onTokenChange, token } from './token.js';

const pollPause = 2000; // ms
const maxRows = 500;
const columns = [
	['topics', (c) => c.topics.join(' ') || 'all'],
	['since', (c) => c.since || 'now', (c) => c.since],
	['sent', (c) => group(c.events), (c) => c.events, true],
	['lag', (c) => group(c.lag), (c) => c.lag, true],
	['state', (c) => c.state],
	['address', (c) => c.address],
	['open for', (c) => age(c.seconds, 1), (c) => c.seconds, true],
	['node', (c) => c.node ?? ''],
];
const nodeCells = (n) => [
	n.node, group(n.connections), rate(n.published_per_s).join(' '), rate(n.delivered_per_s).join(' '),
	Number.isFinite(n.latency_p99_ms) ? span(n.latency_p99_ms).join(' ') : '–', bytes(n.memory_bytes).join(' '), age(n.uptime_s),
].map((text, i) => element('td', i ? 'number' : '', text));
const compareNaturally = new Intl.Collator('en', { numeric: true }).compare;

/** Connections fills the view while that is visible. */
export class Connections {
	#rows = new Map(); // by ID
	#list = [];
	#sortColumn = null; // null: newest first, as the server sends them
	#isDescending = false;
	#isVisible = false;
	#timer = 0;

	constructor() {
		const head = $('streams').tHead.rows[0];
		for (const [i, [name,,, number]] of columns.entries()) {
			const th = element('th', number ? 'number' : '', button(name, () => this.#sortBy(i)));
			th.scope = 'col';
			head.append(th);
		}
		head.append(element('td'));
		onTokenChange(() => this.#refresh());
		document.addEventListener('visibilitychange', () => this.#refresh());
	}

	setVisible(isVisible) {
		this.#isVisible = isVisible;
		this.#refresh();
	}

	async #refresh() {
		clearTimeout(this.#timer);
		if (!this.#isVisible || document.hidden) return;
		const [note, list, nodes = []] = await fetchConnections();
		if (!this.#isVisible) return;
		write($('connections-note'), note);
		$('nodes').hidden = !nodes.length;
		$('nodes').tBodies[0].replaceChildren(...nodes.map((n) => element('tr', '', ...nodeCells(n))));
		$('streams').hidden = !list?.length;
		if (list) {
			this.#list = list;
			this.#draw();
		}
		clearTimeout(this.#timer);
		if (token()) this.#timer = setTimeout(() => this.#refresh(), pollPause);
	}

	#sortBy(i) {
		this.#isDescending = this.#sortColumn === i ? !this.#isDescending : columns[i][3] ?? false;
		this.#sortColumn = i;
		for (const [j, th] of [...$('streams').tHead.rows[0].cells].entries()) {
			if (j === i) th.setAttribute('aria-sort', this.#isDescending ? 'descending' : 'ascending');
			else th.removeAttribute('aria-sort');
		}
		this.#draw();
	}

	#draw() {
		const list = [...this.#list], body = $('streams').tBodies[0], [, text, value = text] = columns[this.#sortColumn] ?? [];
		if (text) list.sort((a, b) => (compareNaturally(value(a), value(b))) * (this.#isDescending ? -1 : 1));
		const ids = new Set(list.map((c) => c.id));
		for (const [id, row] of this.#rows) if (!ids.has(id)) this.#removeRow(id, row);
		for (const [at, c] of list.entries()) {
			const row = this.#rows.get(c.id) ?? this.#addRow(c.id);
			for (const [i, [, words]] of columns.entries()) write(row.cells[i], words(c));
			row.dataset.state = c.state;
			if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
		}
	}

	#removeRow(id, row) {
		row.remove();
		this.#rows.delete(id);
	}

	#addRow(id) {
		const row = element('tr');
		for (const [, , , number] of columns) row.append(element('td', number ? 'number' : ''));
		const end = button('end', async () => {
			end.disabled = true;
			const answer = await request(`connections/${encodeURIComponent(id)}`, 'DELETE');
			end.disabled = false;
			// 404: the stream has ended meanwhile.
			if (answer?.ok || answer?.status === 404) this.#removeRow(id, row);
			else write($('connections-note'), `not ended: ${await explain(answer)}`);
		});
		end.setAttribute('aria-label', `end stream ${id}`);
		row.append(element('td', '', end));
		this.#rows.set(id, row);
		return row;
	}
}

const request = (path, method = 'GET') => fetch(here(path), { method, headers: { Authorization: `Bearer ${token()}` }, signal: AbortSignal.timeout(10_000) }).catch(() => null);

async function fetchConnections() {
	if (!token()) return ['Only operators see who reads: enter the publish token under publish.', []];
	const answer = await request(`connections?limit=${maxRows}`);
	if (!answer?.ok) return [await explain(answer), answer ? [] : null];
	const { total, connections: list, nodes } = await answer.json();
	if (!list.length) return ['No stream is open.', list, nodes];
	const newest = total > list.length ? `the newest ${group(list.length)} of ` : '';
	return [`${newest}${plural(total, 'stream')}${nodes.length > 1 ? ` of node ${list[0].node}` : ''}`, list, nodes];
}

async function explain(answer) {
	if (!answer) return 'the server cannot be reached';
	if (answer.status === 401 || answer.status === 403) return 'The server does not accept this token: forget it under publish.';
	const body = await answer.json().catch(() => null);
	return body?.error?.message ?? `the server answered ${answer.status}`;
}
