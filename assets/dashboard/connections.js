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
	{ name: 'readers', text: (n) => group(n.readers), value: (n) => n.readers, isNumber: true },
	{ name: 'in', text: (n) => rate(n.published_per_s).join(' '), value: (n) => n.published_per_s, isNumber: true },
	{ name: 'out', text: (n) => rate(n.delivered_per_s).join(' '), value: (n) => n.delivered_per_s, isNumber: true },
	{ name: 'p99', text: (n) => (Number.isFinite(n.latency_p99_ms) ? span(n.latency_p99_ms).join(' ') : '–'), value: (n) => n.latency_p99_ms ?? -1, isNumber: true },
	{ name: 'memory', text: (n) => bytes(n.memory_bytes).join(' '), value: (n) => n.memory_bytes, isNumber: true },
	{ name: 'up', text: (n) => (n.isFirst ? '' : age(n.uptime_s)), value: (n) => n.uptime_s, isNumber: true },
];

const relayColumns = [
	{ name: 'topic', text: (r) => r.topic, title: (r) => r.topic },
	{ name: 'source', text: (r) => r.source, title: (r) => r.source },
	{ name: 'node', text: (r) => r.node },
	{ name: 'state', text: (r) => r.state, title: (r) => r.reason ?? '' },
	{ name: 'queued', text: (r) => group(r.queued), value: (r) => r.queued, isNumber: true },
	{ name: 'stored', text: (r) => group(r.events), value: (r) => r.events, isNumber: true },
	{ name: 'skipped', text: (r) => group(r.skipped), value: (r) => r.skipped, isNumber: true },
];

/** Connections fills the view while that is visible. own returns the IDs of the page's streams, and the stats of their node. */
export class Connections {
	#own;
	#nodes = new Table($('nodes'), [{ name: 'node', value: (n) => n.node, make: (n, cell) => this.#offerNode(n, cell) }, ...nodeColumns], 'node');
	#relays = new Table($('relays'), relayColumns, 'topic');
	#streams = new Table($('streams'), [...streamColumns, { make: (c, cell) => this.#offerEnd(c, cell) }], 'sent');
	#chosen = null; // the node whose streams are shown; null: that of the page
	#isVisible = false;
	#timer = 0;
	#turn = 0; // of the newest request

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
		const turn = ++this.#turn;
		if (!this.#isVisible || document.hidden) return;
		const [note, answer] = await fetchConnections(this.#chosen, this.#own().stats?.node_id);
		if (!this.#isVisible || turn !== this.#turn) return;
		const { connections: list = [], nodes = [], total = 0, node_id: shown = '' } = answer ?? {};
		const ours = list.filter((c) => this.#isOurs(c, shown)).length;
		write($('connections-note'), note || describe(answer, ours));
		this.#drawNodes(answer ?? {}, shown);
		$('streams').hidden = !list.length;
		// Where another node follows the source, this one stands by.
		const relays = nodes.flatMap(({ node, relays = [] }) => relays.filter((r) => r.state !== 'standby').map((r) => ({ ...r, node, key: `${node} ${r.topic}` })));
		$('relays').hidden = !relays.length;
		this.#relays.draw(relays);
		// Two nodes may use one ID.
		const keyOf = ({ id }) => `${shown} ${id}`;
		const rows = this.#streams.draw(list.map((c) => ({ ...c, key: keyOf(c), nodeID: shown })));
		for (const c of list) rows.get(keyOf(c)).dataset.state = c.state;
		clearTimeout(this.#timer);
		if (answer) this.#timer = setTimeout(() => this.#refresh(), pollPause);
	}

	// With more than one node there are totals, and the user chooses a node.
	#drawNodes({ nodes = [], cluster }, shown) {
		const { ids, stats } = this.#own(), isMany = nodes.length > 1 || this.#chosen !== null;
		const items = nodes.map((n) => ({ ...n, key: `${n.node_id} ${isMany}`, isMany, readers: Math.max(0, n.connections - (n.node_id === stats?.node_id ? ids.length : 0)) }));
		if (isMany) {
			items.push({
				...cluster, key: 'all', isFirst: true, node: 'all nodes', published_per_s: stats?.published_per_s ?? 0,
				readers: items.reduce((sum, { readers }) => sum + readers, 0),
			});
		}
		$('nodes').hidden = !nodes.length;
		for (const [key, row] of this.#nodes.draw(items)) row.querySelector('button')?.setAttribute('aria-pressed', key.startsWith(`${shown} `));
	}

	#offerNode({ node, node_id: id, isMany, isFirst }, cell) {
		cell.title = node;
		if (isFirst || !isMany) return cell.append(node);
		const choose = element('button', 'name', node);
		choose.title = `show the streams of ${node}`;
		choose.addEventListener('click', () => {
			this.#chosen = { node, id };
			this.#refresh();
		});
		return cell.append(choose);
	}

	#isOurs({ id }, nodeID) {
		const { ids, stats } = this.#own();
		return ids.includes(id) && (!stats || stats.node_id === nodeID);
	}

	// Ending asks first, because a click hits the wrong row easily.
	#offerEnd(c, cell) {
		const { id, topics, address, nodeID } = c;
		cell.className = 'number';
		if (this.#isOurs(c, nodeID)) {
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
			const answer = await request(`connections/${encodeURIComponent(id)}${queryOf(nodeID, '?')}`, 'DELETE');
			yes.disabled = no.disabled = false;
			if (answer?.ok) write($('ended'), `Ended: ${stream}. The server told the client to reconnect.`);
			else if (await codeOf(answer) === 'no_connection') write($('ended'), `Not ended: ${stream} had closed already.`);
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

const codeOf = async (answer) => (await answer?.clone().json().catch(() => null))?.error?.code;

// A server that shares its log with no other has no ID.
const queryOf = (nodeID, mark) => (nodeID ? `${mark}node=${encodeURIComponent(nodeID)}` : '');

// Without a chosen node, the list is that of the page's node, and else of any: a load balancer may pass the request to another node than the page's stream.
async function fetchConnections(chosen, own) {
	if (!token()) return ['Only operators can see and end open streams. Enter the token of an operator under publish.', null];
	const path = `connections?limit=${maxRows}`;
	let answer = await request(path + queryOf(chosen?.id ?? own, '&')), note = '';
	if ([404, 504].includes(answer?.status)) {
		answer = await request(path);
		if (chosen) note = `Node ${chosen.node} cannot be reached: it has stopped, hangs, or has lost NATS. Choose another node.`;
	}
	if (answer?.ok) return [note, { ...await answer.json(), ...(note && { connections: [], node_id: chosen.id }) }];
	const reason = await explain(answer);
	if (answer?.status === 401) return [`The server does not accept this token: ${reason}`, null];
	if (answer?.status !== 403) return [`No list: ${reason}.`, null];
	return [`Only operators can see and end open streams. This token is not an operator's: ${reason}. To enter another one, forget it under publish.`, null];
}

// The streams that are not ours.
function describe({ connections, nodes, node, total }, ours) {
	const newest = total > connections.length ? `The newest ${group(connections.length)} of ` : '';
	const where = nodes.length > 1 ? ` on node ${node}` : '';
	return `${newest}${plural(total - ours, 'stream')}${where}${ours ? ', plus this page' : ''}`;
}
