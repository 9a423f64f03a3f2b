// The topics that the page has seen, each with its rate and the age of its last event. Choosing one filters the feed.

import { $, element } from './dom.js';
import { age, rate } from './format.js';
import { Table } from './table.js';

const maxTopics = 500; // a publisher can make up as many as it likes
const rateSeconds = 5;
const historySeconds = 12; // in the bars beside the rate
const bars = '▁▂▃▄▅▆▇█';

/** Topics keeps the list. onChoose gets the chosen topic, or the empty string. */
export class Topics {
	#topics = new Map(); // in the order of their last events
	#chosen = '';
	#table;
	#frame = 0; // in which a new topic gets its row

	constructor(onChoose) {
		const makeName = (t, cell) => {
			t.button = element('button', 'name', t.key);
			t.button.title = `show only ${t.key}`;
			t.button.setAttribute('aria-pressed', String(t.key === this.#chosen));
			t.button.addEventListener('click', () => onChoose(t.key === this.#chosen ? '' : t.key));
			cell.append(t.button);
		};
		this.#table = new Table($('topics'), [
			{ name: 'topic', value: (t) => t.key, make: makeName },
			{ name: 'last', text: (t) => (t.age < 2 ? 'now' : age(t.age, 1)), value: (t) => t.age, isNumber: true },
			{ name: 'rate', text: (t) => rate(t.rate).join(' ').replace(' /', '/'), value: (t) => t.recent.reduce((a, b) => a + b, 0), isNumber: true },
			{ name: '', className: 'course', text: (t) => t.recent.map((n) => bars[Math.ceil(n / Math.max(...t.recent, 1) * (bars.length - 1))]).join('') },
		], 'rate');
		setInterval(() => this.#tick(), 1000);
	}

	get size() { return this.#topics.size; }

	/** typesOf returns some types of the events of matching topics. */
	typesOf(matches) {
		return [...new Set([...this.#topics].filter(([topic]) => matches(topic)).map(([, t]) => t.type))].slice(-3);
	}

	/** count counts an event. An old one does not count for the rate. */
	count({ topic, type, time }, isLive) {
		const isNew = !this.#topics.has(topic);
		const t = this.#topics.get(topic) ?? { key: topic, second: 0, recent: [], rate: 0, age: 0 };
		this.#topics.delete(topic);
		this.#topics.set(topic, t);
		t.type = type;
		t.at = isLive ? Date.now() : time?.getTime() ?? Date.now();
		if (isLive) t.second++;
		if (this.#topics.size > maxTopics) this.#topics.delete(this.#topics.keys().next().value);
		if (isNew) this.#frame ||= requestAnimationFrame(() => this.#draw());
	}

	/** choose marks one topic, or none. */
	choose(topic) {
		for (const name of [this.#chosen, topic]) {
			this.#topics.get(name)?.button?.setAttribute('aria-pressed', String(name === topic));
		}
		this.#chosen = topic;
	}

	#tick() {
		for (const t of this.#topics.values()) {
			t.recent = [...t.recent, t.second].slice(-historySeconds);
			t.second = 0;
			t.rate = t.recent.slice(-rateSeconds).reduce((a, b) => a + b) / rateSeconds;
		}
		if (!document.hidden) this.#draw();
	}

	#draw() {
		this.#frame = 0;
		for (const t of this.#topics.values()) t.age = (Date.now() - t.at) / 1000;
		const rows = this.#table.draw([...this.#topics.values()]);
		for (const [topic, row] of rows) row.classList.toggle('still', this.#topics.get(topic).rate === 0);
		$('topics').hidden = !rows.size;
	}
}
