// The open streams, for operators. The page asks for them while the view is visible.

import { explain, request } from './access.js';
import { $, button, element, write } from './dom.js';
import { age, bytes, group, plural, rate, span } from './format.js';
import { shortID } from './row.js';
import { Table } from './table.js';
import { onTokenChange, token } from './token.js';

const pollPause = 2000; // ms
const maxRows = 500;

const streamColumns = [
	{ name: 'topics', text: (c) => c.topics.join(' ') || 'all', title: (c) => c.topics.join(' ') },
	{ name: 'since', text: (c) => shortID(c.since) || 'now', value: (c) => c.since, title: (c) => c.since },
	{ name: 'sent', text: (c) => group(c.events), value: (c) => c.events, isNumber: true },
	{ name: 'lag', text: (c) => group(c.lag), value: (c) => c.lag, isNumber: true, className: 'lag' },
	{ name: 'state', text: (c) => c.state },
	{ name: 'address', text: (c) => c.address, title: (c) => c.address },
	{ name: 'open for', text: (c) => age(c.seconds, 1), value: (c) => c.seconds, isNumber: true },
];
const nodeColumns = [
	{ name: 'node', text: (n) => n.node, title: (n) => n.node },
	{ name: 'readers', text: (n) => group(n.readers), value: (n) => n.readers, isNumber: true },
	{ name: 'in', text: (n) => rate(n.published_per_s).join(' '), value: (n) => n.published_per_s, isNumber: true },
	{ name: 'out', text: (n) => rate(n.delivered_per_s).join(' '), value: (n) => n.delivered_per_s, isNumber: true },
	{ name: 'p99', text: (n) => (Number.isFinite(n.latency_p99_ms) ? span(n.latency_p99_ms).join(' ') : '–'), value: (n) => n.latency_p99_ms ?? -1, isNumber: true },
	{ name: 'memory', text: (n) => bytes(n.memory_bytes).join(' '), value: (n) => n.memory_bytes, isNumber: true },
	{ name: 'up', text: (n) => age(n.uptime_s), value: (n) => n.uptime_s, isNumber: true },
];

const relayColumns = [
	{ name: 'topic', text: (r) => r.topic, title: (r) => r.topic },
	{ name: 'source', text: (r) => r.source, title: (r) => r.source },
	{ name: 'node', text: (r) => r.node },
	{ name: 'state', text: (r) => r.state, title: (r) => r.reason ?? '' },
	{ name: 'stored', text: (r) => group(r.events), value: (r) => r.events, isNumber: true },
	{ name: 'skipped', text: (r) => group(r.skipped), value: (r) => r.skipped, isNumber: true },
];

/** Connections fills the view while that is visible. own returns the IDs of the page's streams, and their node. */
export class Connections {
	#own;
	#nodes = new Table($('nodes'), nodeColumns, 'node');
	#relays = new Table($('relays'), relayColumns, 'topic');
	#streams = new Table($('streams'), [...streamColumns, { make: (c, cell) => this.#offerEnd(c, cell) }], 'sent');
	#isVisible = false;
	#timer = 0;

	constructor(own) {
		this.#own = own;
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
		const [note, answer] = await fetchConnections();
		if (!this.#isVisible) return;
		const { connections: list = [], nodes = [], total = 0 } = answer ?? {};
		const own = this.#own();
		const ours = list.filter((c) => this.#isOurs(c)).length;
		write($('connections-note'), note || describe(list, nodes, total - ours, ours));
		$('nodes').hidden = !nodes.length;
		$('streams').hidden = !list.length;
		// Nodes may have one name, so their order is part of the key.
		this.#nodes.draw(nodes.map((n, i) => ({ ...n, key: `${n.node} ${i}`, readers: n.connections - (n.node === own.node ? own.ids.length : 0) })));
		// Where another node follows the source, this one stands by.
		const relays = nodes.flatMap(({ node, relays = [] }) => relays.filter((r) => r.state !== 'standby').map((r) => ({ ...r, node, key: `${node} ${r.topic}` })));
		$('relays').hidden = !relays.length;
		this.#relays.draw(relays);
		const rows = this.#streams.draw(list.map((c) => ({ ...c, key: c.id })));
		for (const c of list) rows.get(c.id).dataset.state = c.state;
		clearTimeout(this.#timer);
		if (answer) this.#timer = setTimeout(() => this.#refresh(), pollPause);
	}

	// Two nodes may use one ID.
	#isOurs({ id, node }) {
		const own = this.#own();
		return own.ids.includes(id) && (node ?? own.node) === own.node;
	}

	// Ending asks first, because a click hits the wrong row easily.
	#offerEnd(c, cell) {
		const { id, topics, address } = c;
		cell.className = 'number';
		if (this.#isOurs(c)) {
			cell.append(element('span', 'own', 'this page'));
			return;
		}
		const stream = `${topics.join(' ') || 'all topics'} of ${address}`;
		const offer = button('end', () => {
			cell.replaceChildren('end it? ', yes, ' ', no);
			yes.focus();
		});
		const keep = () => {
			cell.replaceChildren(offer);
			offer.focus();
		};
		// Where the button was there is "no": a double click ends nothing.
		const yes = button('yes', async () => {
			yes.disabled = no.disabled = true;
			const answer = await request(`connections/${encodeURIComponent(id)}`, 'DELETE');
			yes.disabled = no.disabled = false;
			if (answer?.ok) write($('ended'), `Ended: ${stream}. The server told the client to reconnect.`);
			else if (answer?.status === 404) write($('ended'), `Not ended: ${stream} had closed already.`);
			else write($('ended'), `Not ended: ${stream}. ${await explain(answer)}`);
			keep();
			offer.blur();
			this.#refresh();
		});
		const no = button('no', keep);
		offer.setAttribute('aria-label', `end ${stream}`);
		yes.setAttribute('aria-label', `yes, end ${stream}`);
		cell.addEventListener('keydown', (e) => {
			if (e.key !== 'Escape' || !yes.isConnected) return;
			e.stopPropagation();
			keep();
		});
		cell.append(offer);
	}
}

async function fetchConnections() {
	if (!token()) return ['Only operators can see and end open streams. Enter the token of an operator under publish.', null];
	const answer = await request(`connections?limit=${maxRows}`);
	if (answer?.ok) return ['', await answer.json()];
	const reason = await explain(answer);
	if (answer?.status === 401) return [`The server does not accept this token: ${reason}`, null];
	if (answer?.status !== 403) return [`No list: ${reason}.`, null];
	return [`Only operators can see and end open streams. This token is not an operator's: ${reason}. To enter another one, forget it under publish.`, null];
}

// readers are the streams that are not ours.
function describe(list, nodes, readers, ours) {
	const newest = readers + ours > list.length ? `The newest ${group(list.length)} of ` : '';
	const where = nodes.length > 1 && list.length ? ` on node ${list[0].node}` : '';
	return `${newest}${plural(readers, 'stream')}${where}${ours ? ', plus this page' : ''}`;
}
