// A text that is published piece by piece, such as that of a language model.

import { Stream } from './stream.js';

/** Reads an answer from its beginning. freshet.d.ts describes it. */
export function answer(topic, { url, ...options } = {}) {
	return new Answer(topic, url, options);
}

class Answer {
	text = '';
	#topic;
	#url;
	#options;
	#stream = null;

	constructor(topic, url, options) {
		this.#topic = topic;
		this.#url = url;
		this.#options = options;
	}

	/** Yields the pieces from the beginning of the answer, also in a page that was reloaded. */
	async *[Symbol.asyncIterator]() {
		if (this.#stream) throw new Error('the answer is being read already');
		this.#stream = new Stream(this.#url, { queue: Infinity, share: false, merge: 'text', ...this.#options, topics: [this.#topic], since: 'all' });
		let separator = ''; // before the next piece
		try {
			for await (const e of this.#stream) {
				if (e.type === 'gap') throw new Error('the beginning of the answer is gone');
				if (e.type === 'end') return;
				this.text += separator + e.data;
				separator = this.#options.merge === 'lines' ? '\n' : '';
				yield e.data;
			}
		} finally {
			this.#stream.close();
		}
	}

	/** The pieces as a ReadableStream. */
	get readable() {
		const pieces = this[Symbol.asyncIterator]();
		return new ReadableStream({
			async pull(controller) {
				const { value, done } = await pieces.next();
				if (done) controller.close();
				else controller.enqueue(value);
			},
			cancel: () => this.close(),
		});
	}

	/** Asks the program that writes the answer to end it. The loop goes on until the answer has ended. */
	async stop() {
		if (!this.#stream) throw new Error('the answer is not being read');
		const url = new URL(this.#stream.url);
		url.pathname += `/${encodeURIComponent(`${this.#topic}.stop`)}`;
		url.search = '';
		const { stopTicket, token } = this.#options;
		const [ticket, bearer] = await Promise.all([stopTicket, token].map((source) => typeof source === 'function' ? source() : source));
		if (ticket) url.searchParams.set('ticket', ticket);
		const headers = bearer && !ticket ? { Authorization: `Bearer ${bearer}` } : {};
		const response = await fetch(url, { method: 'POST', headers });
		if (!response.ok) throw new Error((await response.json().catch(() => null))?.error?.message ?? `the server answered ${response.status}`);
	}

	/** Stops reading: the loop ends. The answer itself goes on. */
	close() { this.#stream?.close(); }
}
