// The feed: the newest events on top, bounded, drawn once a frame however many arrive.

import { element } from './dom.js';
import { matches } from '../freshet.js';
import { detail, dress, noteRow } from './row.js';

const mostRows = 500;
const mostKept = 5000;
const mostCharacters = 16 << 20; // payloads may be large: this bounds what the page holds
const spare = 20; // rows beyond those in sight
const few = 4; // arrivals in a frame that settle in with motion, and colour

// Bounded is a queue that forgets its oldest items.
class Bounded {
	items = [];
	most;
	#size = 0;

	constructor(most) { this.most = most; }

	push(item) {
		this.items.push(item);
		this.#size += item.size;
		const gone = [];
		while (this.items.length > this.most || (this.#size > mostCharacters && this.items.length > 1)) {
			const first = this.items.shift();
			this.#size -= first.size;
			gone.push(first);
		}
		return gone;
	}
}

/**
 * Feed draws into the list. onChange is called after each drawing and each change of its
 * state; does does what is asked for an event by name: replay(id), curl(item, button).
 */
export class Feed {
	#list;
	#row; // the template of a row
	#onChange;
	#does;
	#kept = new Bounded(mostKept); // what the filter chooses from
	#shown = new Bounded(mostRows); // what has a row
	#waiting = new Bounded(mostKept); // what arrived since the last drawing
	#waitingCount = 0;
	#frame = 0;
	#paused = false;
	#pressed = false;
	#open = new Set();
	#stop = null; // the row that Tab reaches
	#replayed = null; // events shown in place of what is kept
	#text = '';
	#pattern = '';

	constructor(list, row, onChange, does) {
		[this.#list, this.#row, this.#onChange, this.#does] = [list, row, onChange, does];
		list.addEventListener('click', (e) => this.#toggle(e.target.closest('.line')));
		list.addEventListener('keydown', (e) => this.#key(e));
		list.addEventListener('focusin', (e) => { if (e.target.matches('.line')) this.#stand(e.target); });
		// A row must not leave from under the pointer between press and release.
		list.addEventListener('pointerdown', () => { this.#pressed = true; });
		const release = () => setTimeout(() => {
			this.#pressed = false;
			this.#schedule();
		});
		addEventListener('pointerup', release);
		addEventListener('pointercancel', release);
		list.addEventListener('scroll', () => { if (list.scrollTop > 0) this.#lengthen(); });
	}

	get paused() { return this.#paused || this.#open.size > 0 || this.#replayed !== null; }
	get replaying() { return this.#replayed !== null; }
	get waiting() { return this.#waitingCount; }
	get pattern() { return this.#pattern; }
	get filtered() { return this.#pattern !== '' || this.#text !== ''; }
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
		this.#lengthen();
		this.#onChange();
	}

	/** resume closes open rows, ends a replay and draws what waited. */
	resume() {
		this.#paused = false;
		for (const line of this.#open) this.#fold(line);
		if (this.#replayed) this.show(null);
		this.#schedule();
	}

	/** show shows these events, oldest first, in place of the newest; null ends that. */
	show(events) {
		this.#replayed = events;
		this.filter({});
	}

	/** filter shows the events whose topic is of the pattern and that hold the text in topic, type or data. */
	filter({ pattern = this.#pattern, text = this.#text }) {
		[this.#pattern, this.#text] = [pattern.trim(), text.trim().toLowerCase()];
		this.#open.clear();
		this.#shown = new Bounded(mostRows);
		const focused = this.#list.contains(document.activeElement);
		this.#list.replaceChildren();
		this.#show((this.#replayed ?? this.#kept.items).filter((item) => this.#matches(item)), false, true);
		this.#list.scrollTop = 0;
		if (focused) (this.#stop ?? this.#list).focus();
		this.#schedule();
	}

	#matches(item) {
		if (item.note) return true;
		if (this.#pattern && !matches(this.#pattern, item.topic)) return false;
		return !this.#text || [item.topic, item.type, item.data].some((s) => s.toLowerCase().includes(this.#text));
	}

	#schedule() {
		if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
	}

	#draw() {
		this.#frame = 0;
		if (!this.paused && !this.#pressed) {
			const arrived = this.#waiting.items, lost = this.#waitingCount - arrived.length;
			this.#waiting = new Bounded(mostKept);
			this.#waitingCount = 0;
			if (lost > 0) {
				const from = this.#kept.items.findLast((item) => item.id)?.id;
				arrived.unshift({ note: 'More came than the page holds: the events between are in the log.', time: new Date(), from, size: 200 });
			}
			for (const item of arrived) this.#kept.push(item);
			// Rows that nobody sees would cost each frame.
			this.#shown.most = this.#list.scrollTop > 0 ? mostRows : Math.ceil(innerHeight / 24) + spare;
			this.#show(arrived.filter((item) => this.#matches(item)), arrived.length < few);
		}
		this.#onChange();
	}

	// show puts rows on top; only single arrivals settle in with motion.
	#show(items, settle, calm = settle) {
		const rows = document.createDocumentFragment(), focused = this.#stop === document.activeElement;
		for (const item of items.slice(-this.#shown.most)) {
			const li = this.#place(item, calm);
			if (settle) li.className += ' new';
			rows.prepend(li);
			for (const gone of this.#shown.push({ li, size: item.size })) gone.li.remove();
		}
		this.#list.prepend(rows);
		if (this.#stop?.isConnected) return;
		this.#stand(this.#list.querySelector('.line'));
		if (focused) this.#stop?.focus({ preventScroll: true });
	}

	#place(item, calm) {
		const today = new Date();
		return item.note ? noteRow(item, today, this.#does) : dress(this.#row.content.firstElementChild.cloneNode(true), item, today, calm);
	}

	// lengthen adds the older rows, once somebody looks for them.
	#lengthen() {
		const shown = this.#shown.items;
		if (this.#replayed || shown.length === mostRows) return;
		const older = this.#kept.items.filter((item) => this.#matches(item)).slice(-mostRows, -shown.length || undefined);
		const rows = older.map((item) => ({ li: this.#place(item, true), size: item.size }));
		this.#shown = new Bounded(mostRows);
		for (const row of [...rows, ...shown]) this.#shown.push(row);
		this.#list.append(...rows.map(({ li }) => li).reverse());
	}

	#toggle(line) {
		if (!line) return;
		if (this.#open.has(line)) {
			this.#fold(line);
			this.#schedule();
			return;
		}
		this.#lengthen();
		line.after(detail(line.item, this.#does));
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

	#key(e) {
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		const line = e.target.closest('li')?.querySelector('.line');
		if (e.key === 'Escape' && line && this.#open.has(line)) {
			line.focus();
			this.#toggle(line);
			return e.stopPropagation();
		}
		if (!e.target.matches('.line')) return;
		this.#lengthen();
		const lines = [...this.#list.querySelectorAll('.line')], at = lines.indexOf(line);
		const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[e.key];
		if (to !== undefined) lines[to]?.focus();
		else if (e.key === 'r') this.#does.replay(line.item.id);
		else if (e.key === 'c') this.#does.curl(line.item);
		else return;
		e.preventDefault();
	}
}
