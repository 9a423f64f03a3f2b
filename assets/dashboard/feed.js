// The feed: the newest events, newest first. It is bounded, and drawn once a frame.

import { Filter } from './filter.js';
import { details, fillRow, noticeRow } from './row.js';

const maxRows = 500;
const maxEvents = 5000;
const maxCharacters = 16 << 20; // bounds the page's memory when payloads are large
const rowHeight = 22; // CSS pixels, at least
const spareRows = 10; // below those in sight
const maxAnimated = 4; // rows in a frame
const busyPause = 100; // ms after a frame with more rows than these: nobody reads faster

// Bounded is a queue that drops its oldest items.
class Bounded {
	items = [];
	max;
	#size = 0;

	constructor(max) { this.max = max; }

	push(item) {
		this.items.push(item);
		this.#size += item.size;
		const gone = [];
		while (this.items.length > this.max || (this.#size > maxCharacters && this.items.length > 1)) {
			const first = this.items.shift();
			this.#size -= first.size;
			gone.push(first);
		}
		return gone;
	}
}

/**
 * Feed draws into the list. It calls onChange after it has drawn or changed its state, and the actions replay(id) and
 * curl(item, button) when the user asks for them.
 */
export class Feed {
	#list;
	#row; // the template of a row
	#onChange;
	#actions;
	#kept = new Bounded(maxEvents); // all events, before the filter
	#shown = new Bounded(maxRows); // the events that have a row
	#waiting = new Bounded(maxEvents); // arrived since the page drew last
	#waitingCount = 0;
	#frame = 0;
	#pausesUntil = 0;
	#isPaused = false;
	#isPressed = false;
	#openRows = new Set();
	#tabStop = null; // the row that the Tab key reaches
	#replayed = null; // events shown in place of what is kept
	#filter = new Filter();
	#matching = 0; // of the events that the filter has looked at

	constructor(list, row, onChange, actions) {
		[this.#list, this.#row, this.#onChange, this.#actions] = [list, row, onChange, actions];
		list.addEventListener('click', (e) => this.#toggle(e.target.closest('.line')));
		list.addEventListener('keydown', (e) => this.#onKey(e));
		list.addEventListener('focusin', (e) => { if (e.target.matches('.line')) this.#setTabStop(e.target); });
		// A row must not move away between press and release.
		list.addEventListener('pointerdown', () => { this.#isPressed = true; });
		const release = () => setTimeout(() => {
			this.#isPressed = false;
			this.#schedule();
		});
		addEventListener('pointerup', release);
		addEventListener('pointercancel', release);
		list.addEventListener('scroll', () => { if (list.scrollTop > 0) this.#addOlderRows(); });
	}

	get paused() { return this.#isPaused || this.#openRows.size > 0 || this.#replayed !== null; }
	get replaying() { return this.#replayed !== null; }
	get isOpen() { return this.#openRows.size > 0; }
	get waiting() { return this.#waitingCount; }
	get pattern() { return this.#filter.pattern; }
	get filtered() { return this.#filter.isSet; }
	get matching() { return this.#matching; }
	get size() { return (this.#replayed ?? this.#kept.items).length; }
	get empty() { return this.#kept.items.length === 0 && this.#waitingCount === 0; }
	get blank() { return this.#shown.items.length === 0; }

	/** add gets an event, or a notice about the stream: {note, time}. */
	add(item) {
		item.size = (item.note ?? item.data).length + 200;
		this.#waiting.push(item);
		this.#waitingCount++;
		this.#schedule();
	}

	/** pause keeps the rows as they are. New events wait. */
	pause() {
		this.#isPaused = true;
		this.#addOlderRows();
		this.#onChange();
	}

	/** resume closes open rows, ends a replay and draws the events that waited. */
	resume() {
		this.#isPaused = false;
		for (const line of this.#openRows) this.#fold(line);
		if (this.#replayed) this.show(null);
		this.#schedule();
	}

	/** show shows these events, oldest first, in place of the newest. null ends that. */
	show(events) {
		this.#replayed = events;
		this.filter({});
	}

	/** filter shows the events of matching topics that have the text in topic, type or data. */
	filter(change) {
		this.#filter.set(change);
		this.#openRows.clear();
		this.#shown = new Bounded(maxRows);
		const focused = this.#list.contains(document.activeElement);
		this.#list.replaceChildren();
		const matching = (this.#replayed ?? this.#kept.items).filter((item) => this.#matches(item));
		this.#matching = matching.length;
		this.#addRows(matching, false);
		this.#list.scrollTop = 0;
		if (focused) (this.#tabStop ?? this.#list).focus();
		this.#schedule();
	}

	#matches(item) { return item.note !== undefined || this.#filter.matches(item); }

	#schedule() {
		if (this.#frame) return;
		const wait = this.#pausesUntil - performance.now(), draw = () => requestAnimationFrame(() => this.#draw());
		this.#frame = wait > 0 ? setTimeout(draw, wait) : draw();
	}

	#draw() {
		this.#frame = 0;
		if (!this.paused && !this.#isPressed) {
			const arrived = this.#waiting.items, lost = this.#waitingCount - arrived.length;
			this.#waiting = new Bounded(maxEvents);
			this.#waitingCount = 0;
			if (lost > 0) {
				const from = this.#kept.items.findLast((item) => item.id)?.id;
				arrived.unshift({ note: 'More events came than the page keeps: the others are in the log.', time: new Date(), from, size: 200 });
			}
			const gone = arrived.flatMap((item) => this.#kept.push(item));
			const matching = arrived.filter((item) => this.#matches(item));
			this.#matching += matching.length - (this.filtered ? gone.filter((item) => this.#matches(item)) : gone).length;
			// Rows out of sight cost time in each frame.
			this.#shown.max = this.#list.scrollTop > 0 ? maxRows : Math.ceil(innerHeight / rowHeight) + spareRows;
			this.#addRows(matching, arrived.length < maxAnimated);
			if (matching.length > maxAnimated) this.#pausesUntil = performance.now() + busyPause;
		}
		this.#onChange();
	}

	// Adds rows on top. Only single arrivals are animated.
	#addRows(items, animates) {
		const rows = document.createDocumentFragment(), focused = this.#tabStop === document.activeElement;
		for (const item of items.slice(-this.#shown.max)) {
			const li = this.#makeRow(item);
			if (animates) li.className += ' new';
			rows.prepend(li);
			for (const gone of this.#shown.push({ li, size: item.size })) gone.li.remove();
		}
		this.#list.prepend(rows);
		if (this.#tabStop?.isConnected && this.#list.contains(document.activeElement)) return;
		this.#setTabStop(this.#list.querySelector('.line'));
		if (focused) this.#tabStop?.focus({ preventScroll: true });
	}

	#makeRow(item) {
		const today = new Date();
		if (item.note) return noticeRow(item, today, this.#actions);
		if (item.type !== item.topic) this.#list.parentElement.classList.add('typed'); // shows the column
		return fillRow(this.#row.content.firstElementChild.cloneNode(true), item, today, this.#filter);
	}

	// Adds the older rows when the user looks for them.
	#addOlderRows() {
		const shown = this.#shown.items;
		if (this.#replayed || shown.length === maxRows) return;
		const older = this.#kept.items.filter((item) => this.#matches(item)).slice(-maxRows, -shown.length || undefined);
		const rows = older.map((item) => ({ li: this.#makeRow(item), size: item.size }));
		this.#shown = new Bounded(maxRows);
		for (const row of [...rows, ...shown]) this.#shown.push(row);
		this.#list.append(...rows.map(({ li }) => li).reverse());
	}

	#toggle(line) {
		if (!line) return;
		if (this.#openRows.has(line)) {
			this.#fold(line);
			this.#schedule();
			return;
		}
		this.#addOlderRows();
		line.after(details(line.item, this.#actions));
		line.setAttribute('aria-expanded', 'true');
		this.#openRows.add(line);
		this.#onChange();
	}

	#fold(line) {
		line.nextElementSibling?.remove();
		line.setAttribute('aria-expanded', 'false');
		this.#openRows.delete(line);
	}

	// One row is the list's tab stop. The arrow keys move it.
	#setTabStop(line) {
		if (this.#tabStop) this.#tabStop.tabIndex = -1;
		if (line) line.tabIndex = 0;
		this.#tabStop = line;
	}

	#onKey(e) {
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		const line = e.target.closest('li')?.querySelector('.line');
		if (e.key === 'Escape' && line && this.#openRows.has(line)) {
			line.focus();
			this.#toggle(line);
			return e.stopPropagation();
		}
		if (!e.target.matches('.line')) return;
		this.#addOlderRows();
		const lines = [...this.#list.querySelectorAll('.line')], at = lines.indexOf(line);
		const target = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[e.key];
		if (target !== undefined) lines[target]?.focus();
		else if (e.key === 'r') this.#actions.replay(line.item.id);
		else if (e.key === 'c') this.#actions.curl(line.item);
		else return;
		e.preventDefault();
	}
}
