// The topics seen, each with its count and its rate; choosing one filters the feed.

import { $, element, write } from './dom.js';
import { group, short } from './format.js';

const mostTopics = 500; // the ones heard last: a topic costs its publisher nothing
const seconds = 5; // what a rate is taken over

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

	/** seen counts an event; one from before the stream opened says nothing about the rate. */
	seen({ topic, old }) {
		const t = this.#topics.get(topic) ?? this.#place(topic);
		this.#topics.delete(topic);
		this.#topics.set(topic, t);
		t.count++;
		if (!old) t.second++;
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

	/** draw writes the counts. */
	draw() {
		for (const t of this.#topics.values()) write(t.counted, t.count < 1e5 ? group(t.count) : short(t.count).join(' '));
	}

	#tick() {
		for (const t of this.#topics.values()) {
			t.recent = [...t.recent, t.second].slice(-seconds);
			t.second = 0;
			const rate = t.recent.reduce((a, b) => a + b) / seconds;
			t.rate.classList.toggle('still', rate === 0);
			write(t.rate, `${short(rate).join(' ').trim()}/s`);
		}
	}

	// Rows stand in the order of their names, so that none moves when rates change.
	#place(topic) {
		const row = element('li', '');
		const button = element('button', '');
		const [counted, rate] = [element('span', 'counted'), element('span', 'rate still', '0/s')];
		button.type = 'button';
		button.title = `show only ${topic}`;
		button.setAttribute('aria-pressed', String(topic === this.#chosen));
		button.append(element('span', 'name', topic), ' ', counted, ' ', rate);
		button.addEventListener('click', () => this.#onChoose(topic === this.#chosen ? '' : topic));
		row.append(button);
		row.topic = topic;
		$('topics').insertBefore(row, [...$('topics').children].find((other) => other.topic > topic) ?? null);
		return { row, button, counted, rate, count: 0, second: 0, recent: [] };
	}
}
