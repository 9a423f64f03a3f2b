// The feed: the newest events on top, bounded, drawn once a frame however many arrive.

import { element } from './dom.js';
import { clock, group, pretty } from './format.js';

const mostRows = 500;
const mostCharacters = 16 << 20; // payloads may be large: this bounds what the page holds
const mostShown = 400; // characters of a payload on its line

// Bounded is a queue that forgets its oldest items beyond mostRows or mostCharacters.
class Bounded {
	items = [];
	#size = 0;

	push(item) {
		this.items.push(item);
		this.#size += item.size;
		const gone = [];
		while (this.items.length > mostRows || (this.#size > mostCharacters && this.items.length > 1)) {
			const first = this.items.shift();
			this.#size -= first.size;
			gone.push(first);
		}
		return gone;
	}
}

/** Feed draws into the list; onChange is called after each drawing and each change of its state. */
export class Feed {
	#list;
	#row; // the template of a row
	#onChange;
	#kept = new Bounded(); // what the filter chooses from
	#shown = new Bounded(); // what has a row
	#waiting = new Bounded(); // what arrived since the last drawing
	#waitingCount = 0;
	#frame = 0;
	#paused = false;
	#pressed = false;
	#open = new Set();
	#stop = null; // the row that Tab reaches
	#text = '';
	#topic = '';

	constructor(list, row, onChange) {
		this.#list = list;
		this.#row = row;
		this.#onChange = onChange;
		list.addEventListener('click', (e) => this.#toggle(e.target.closest('.line')));
		list.addEventListener('keydown', (e) => this.#move(e));
		list.addEventListener('focusin', (e) => { if (e.target.matches('.line')) this.#stand(e.target); });
		// A row must not leave from under the pointer between press and release.
		list.addEventListener('pointerdown', () => { this.#pressed = true; });
		const release = () => setTimeout(() => {
			this.#pressed = false;
			this.#schedule();
		});
		addEventListener('pointerup', release);
		addEventListener('pointercancel', release);
	}

	get paused() { return this.#paused || this.#open.size > 0; }
	get waiting() { return this.#waitingCount; }
	get topic() { return this.#topic; }
	get text() { return this.#text; }
	get empty() { return this.#kept.items.length === 0 && this.#waitingCount === 0; }
	get blank() { return this.#shown.items.length === 0; }

	/** add takes an event, or a sentence about the stream: {note, time}. */
	add(item) {
		item.size = (item.note ?? item.data).length + 200;
		this.#waiting.push(item);
		this.#waitingCount++;
		this.#schedule();
	}

	/** pause holds the rows still; what arrives waits. */
	pause() {
		this.#paused = true;
		this.#onChange();
	}

	/** resume closes open rows and draws what waited. */
	resume() {
		this.#paused = false;
		for (const line of this.#open) this.#fold(line);
		this.#schedule();
	}

	/** filter shows the events of one topic, if given, that hold the text in topic, type or data. */
	filter({ topic = this.#topic, text = this.#text }) {
		this.#topic = topic;
		this.#text = text.trim().toLowerCase();
		this.#open.clear();
		this.#shown = new Bounded();
		this.#list.replaceChildren();
		this.#show(this.#kept.items.filter((item) => this.#matches(item)), false);
		this.#schedule();
	}

	#matches(item) {
		if (item.note) return true;
		if (this.#topic && item.topic !== this.#topic) return false;
		return !this.#text || [item.topic, item.type, item.data].some((s) => s.toLowerCase().includes(this.#text));
	}

	#schedule() {
		if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
	}

	#draw() {
		this.#frame = 0;
		if (!this.paused && !this.#pressed) {
			const arrived = this.#waiting.items;
			this.#waiting = new Bounded();
			this.#waitingCount = 0;
			for (const item of arrived) this.#kept.push(item);
			this.#show(arrived.filter((item) => this.#matches(item)), arrived.length < 4);
		}
		this.#onChange();
	}

	// show puts rows on top; only single arrivals settle in with motion.
	#show(items, settle) {
		const rows = document.createDocumentFragment();
		const today = new Date();
		for (const item of items) {
			const li = item.note ? noteRow(item, today) : this.#eventRow(item, today);
			li.classList.toggle('new', settle);
			rows.prepend(li);
			for (const gone of this.#shown.push({ li, size: item.size })) gone.li.remove();
		}
		this.#list.prepend(rows);
		if (!this.#stop?.isConnected) this.#stand(this.#list.querySelector('.line'));
	}

	#eventRow(item, today) {
		const li = this.#row.content.firstElementChild.cloneNode(true);
		const line = li.firstElementChild;
		const [time, topic, type, data] = line.querySelectorAll('.t');
		time.textContent = clock(item.time, today);
		topic.textContent = item.topic;
		if (item.type !== item.topic) type.textContent = item.type;
		data.textContent = item.data.slice(0, mostShown);
		line.item = item;
		return li;
	}

	#toggle(line) {
		if (!line) return;
		if (this.#open.has(line)) {
			this.#fold(line);
			this.#schedule();
			return;
		}
		line.after(detail(line.item));
		line.setAttribute('aria-expanded', 'true');
		this.#open.add(line);
		this.#onChange();
	}

	#fold(line) {
		line.nextElementSibling?.remove();
		line.setAttribute('aria-expanded', 'false');
		this.#open.delete(line);
	}

	// One row is the list's tab stop; the arrow keys move it.
	#stand(line) {
		if (this.#stop) this.#stop.tabIndex = -1;
		if (line) line.tabIndex = 0;
		this.#stop = line;
	}

	#move(e) {
		const lines = [...this.#list.querySelectorAll('.line')];
		const at = lines.indexOf(e.target);
		const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[e.key];
		if (at < 0 || to === undefined) return;
		e.preventDefault();
		lines[to]?.focus();
	}
}

function noteRow(item, today) {
	const li = element('li', 'said');
	li.append(element('time', '', clock(item.time, today)), ' ', item.note);
	return li;
}

function detail({ id, topic, type, time, data }) {
	const box = element('div', 'detail');
	const payload = element('pre', '', pretty(data) || '(no data)');
	const at = Number.isNaN(time.getTime()) ? [] : [time.toISOString()];
	payload.tabIndex = 0;
	const facts = element('p');
	// Isolated, as names may be written from right to left.
	facts.append(`id ${id} · topic `, element('bdi', '', topic), ' · type ', element('bdi', '', type), ...at.map((t) => ` · ${t}`));
	box.append(payload, facts);
	return box;
}

/** gapSentence says what is missing, as exactly as the gap tells. */
export function gapSentence(data) {
	let gap = {};
	try {
		gap = JSON.parse(data) ?? {};
	} catch {
		// The sentence without a number.
	}
	if (gap.reason === 'epoch') return 'The server has a new log: events of the one before it are gone.';
	if (gap.reason === 'unknown') return 'The place to resume from is unknown: events may be missing here.';
	const [from, to] = [gap.requested, gap.first].map((id) => /^([a-z0-9]+)-(\d+)$/.exec(id ?? ''));
	const lost = from && to && from[1] === to[1] ? Number(to[2]) - Number(from[2]) - 1 : 0;
	if (lost === 1) return '1 event is gone: the log no longer keeps it.';
	return `${lost > 1 ? group(lost) : 'Some'} events are gone: the log no longer keeps them.`;
}
