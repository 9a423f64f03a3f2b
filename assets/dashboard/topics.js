// The topics seen, each with its rate and its last event; choosing one filters the feed.

import { $, element, write } from './dom.js';
import { age, rate } from './format.js';

const mostTopics = 500; // the ones heard last: a topic costs its publisher nothing
const seconds = 5; // what a rate is taken over
const remembered = 12; // seconds of the small course beside it
const bars = '▁▂▃▄▅▆▇█';

/** Topics keeps the list; onChoose gets the topic chosen, or the empty string. */
export class Topics {
	#onChoose;
	#topics = new Map(); // in the order in which they were heard last
	#chosen = '';

	constructor(onChoose) {
		this.#onChoose = onChoose;
		setInterval(() => this.#tick(), 1000);
	}

	get size() { return this.#topics.size; }

	/** typesOf returns some types that events of matching topics have had. */
	typesOf(matches) {
		return [...new Set([...this.#topics].filter(([topic]) => matches(topic)).map(([, t]) => t.type))].slice(-3);
	}

	/** seen counts an event; one that is caught up with says nothing about the rate. */
	seen({ topic, type, time }, live) {
		const t = this.#topics.get(topic) ?? this.#place(topic);
		this.#topics.delete(topic);
		this.#topics.set(topic, t);
		t.type = type;
		t.last = live ? Date.now() : time?.getTime() ?? Date.now();
		if (live) t.second++;
		if (this.#topics.size > mostTopics) {
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
			t.recent = [...t.recent, t.second].slice(-remembered);
			t.second = 0;
			if (document.hidden) continue;
			const most = Math.max(...t.recent, 1), sum = t.recent.slice(-seconds).reduce((a, b) => a + b);
			t.row.classList.toggle('still', sum === 0);
			write(t.rate, rate(sum / seconds).join(' ').replace(' /', '/'));
			write(t.course, t.recent.map((n) => bars[Math.ceil(n / most * (bars.length - 1))]).join(''));
			write(t.age, now - t.last < 2000 ? 'now' : age((now - t.last) / 1000, 1));
		}
	}

	// Rows stand in the order of their names, so that none moves when rates change.
	#place(topic) {
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
