// The topics that the page has seen, each with its rate and the age of its last event. Choosing one filters the feed.

import { $, element, write } from './dom.js';
import { age, rate } from './format.js';

const maxTopics = 500; // a publisher can make up as many as it likes
const rateSeconds = 5;
const historySeconds = 12; // in the bars beside the rate
const bars = '▁▂▃▄▅▆▇█';

/** Topics keeps the list. onChoose gets the chosen topic, or the empty string. */
export class Topics {
	#onChoose;
	#topics = new Map(); // in the order of their last events
	#chosen = '';

	constructor(onChoose) {
		this.#onChoose = onChoose;
		setInterval(() => this.#tick(), 1000);
	}

	get size() { return this.#topics.size; }

	/** typesOf returns some types of the events of matching topics. */
	typesOf(matches) {
		return [...new Set([...this.#topics].filter(([topic]) => matches(topic)).map(([, t]) => t.type))].slice(-3);
	}

	/** count counts an event. An old one does not count for the rate. */
	count({ topic, type, time }, isLive) {
		const t = this.#topics.get(topic) ?? this.#addRow(topic);
		this.#topics.delete(topic);
		this.#topics.set(topic, t);
		t.type = type;
		t.last = isLive ? Date.now() : time?.getTime() ?? Date.now();
		if (isLive) t.second++;
		if (this.#topics.size > maxTopics) {
			const [oldest, { row }] = this.#topics.entries().next().value;
			row.remove();
			this.#topics.delete(oldest);
		}
	}

	/** choose marks one topic, or none. */
	choose(topic) {
		for (const name of [this.#chosen, topic]) {
			this.#topics.get(name)?.button.setAttribute('aria-pressed', String(name === topic));
		}
		this.#chosen = topic;
	}

	#tick() {
		const now = Date.now();
		for (const t of this.#topics.values()) {
			t.recent = [...t.recent, t.second].slice(-historySeconds);
			t.second = 0;
			if (document.hidden) continue;
			const max = Math.max(...t.recent, 1), sum = t.recent.slice(-rateSeconds).reduce((a, b) => a + b);
			t.row.classList.toggle('still', sum === 0);
			write(t.rate, rate(sum / rateSeconds).join(' ').replace(' /', '/'));
			write(t.course, t.recent.map((n) => bars[Math.ceil(n / max * (bars.length - 1))]).join(''));
			write(t.age, now - t.last < 2000 ? 'now' : age((now - t.last) / 1000, 1));
		}
	}

	// Rows have the order of their names, so that they do not move when rates change.
	#addRow(topic) {
		const [last, flow, course] = [element('span', 'age'), element('span', 'rate', '0/s'), element('span', 'course')];
		const row = element('li', 'still');
		const button = element('button', '', element('span', 'name', topic), ' ', last, ' ', flow, ' ', course);
		button.title = `show only ${topic}`;
		course.ariaHidden = 'true';
		button.setAttribute('aria-pressed', String(topic === this.#chosen));
		button.addEventListener('click', () => this.#onChoose(topic === this.#chosen ? '' : topic));
		row.append(button);
		row.topic = topic;
		$('topics').insertBefore(row, [...$('topics').children].find((other) => other.topic > topic) ?? null);
		return { row, button, rate: flow, age: last, course, second: 0, recent: [] };
	}
}
