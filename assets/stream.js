// Follows /event as newline-delimited JSON. EventSource hears only the types that it was
// told of; this reads all of them. It resumes by the last event ID, as EventSource does.

import { token } from './token.js';

const longestLine = 256 << 20; // characters: the largest body that a server takes, 32 MiB, with every byte escaped
const longestWait = 30_000; // ms between two attempts

/**
 * Stream follows all topics. onEvent gets each event with `old` set where it was
 * published before the stream opened, onID each cursor, and onState one of:
 *   connecting, live, closed, waiting (detail: the time of the next attempt),
 *   refused (detail: the server's words; only open starts it again).
 */
export class Stream {
	lastID = '';
	#handlers;
	#stop = null;
	#retry = 2000;
	#failures = 0;
	#showToken = false; // only to a server that does not let everyone read

	constructor(handlers) {
		this.#handlers = handlers;
	}

	/** open starts following, from the last event ID or else from since. */
	open(since) {
		if (this.#stop) return;
		this.#stop = new AbortController();
		this.#follow(this.#stop.signal, since);
	}

	/** close ends the stream; open resumes it. */
	close() {
		if (!this.#stop) return;
		this.#stop.abort();
		this.#stop = null;
		this.#handlers.onState('closed');
	}

	async #follow(signal, since) {
		while (!signal.aborted) {
			let wait = 0, refusal = '';
			this.#handlers.onState('connecting');
			try {
				({ wait = 0, refusal = '' } = await this.#read(signal, this.lastID || since));
			} catch {
				// The connection broke: the wait below is the answer to that.
			}
			if (signal.aborted) return;
			if (refusal) {
				this.#stop = null;
				this.#handlers.onState('refused', refusal);
				return;
			}
			this.#failures++;
			const grown = this.#retry * 2 ** Math.min(Math.max(this.#failures - 1, 0), 10);
			const jitter = this.#failures > 1 ? 0.75 + Math.random() / 2 : 1; // the server's own retry has its jitter
			wait = Math.max(wait, Math.min(longestWait, grown * jitter));
			this.#handlers.onState('waiting', Date.now() + wait);
			await sleep(wait, signal);
		}
	}

	async #read(signal, since) {
		const part = new AbortController(); // ends this attempt, not the following
		// Heartbeats that stop mean a dead peer. Their interval is learned from the first,
		// since the server may be set to any, or to none.
		let heard = 0, patience = Infinity;
		const watch = setInterval(() => { if (performance.now() - heard > patience) part.abort(); }, 5000);
		try {
			const url = `event?topic=%3E${since ? `&since=${encodeURIComponent(since)}` : ''}`;
			const headers = { Accept: 'application/x-ndjson' };
			if (this.#showToken) headers.Authorization = `Bearer ${token()}`;
			const answer = await fetch(url, { headers, cache: 'no-store', signal: AbortSignal.any([signal, part.signal]) });
			if (answer.status === 401 || answer.status === 403) {
				this.#showToken = !this.#showToken && token() !== '';
				return this.#showToken ? {} : { refusal: await reason(answer) };
			}
			if (!answer.ok) return { wait: 1000 * (Number(answer.headers.get('Retry-After')) || 0) };
			const opened = serverTime(answer);
			let rest = '';
			heard = performance.now();
			this.#failures = 0; // when to come back from here on, the server says
			this.#handlers.onState('live');
			const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
			for (;;) {
				const { done, value } = await reader.read();
				if (done) return {};
				const lines = (rest + value).split('\n');
				rest = lines.pop();
				if (rest.length > longestLine) throw new Error('line too long');
				const quiet = performance.now() - heard;
				heard += quiet;
				for (const line of lines) {
					if (this.#take(line, opened) === 'heartbeat') patience = Math.max(3 * quiet, 45_000);
				}
			}
		} finally {
			clearInterval(watch);
			part.abort();
		}
	}

	#take(text, opened) {
		let line;
		try {
			line = JSON.parse(text);
		} catch {
			return; // an empty line, or not ours
		}
		if (line === null || typeof line !== 'object') return;
		if (line.retry > 0) this.#retry = line.retry;
		if (typeof line.id === 'string' && line.id) {
			this.lastID = line.id;
			this.#handlers.onID(line.id);
		}
		if (typeof line.data !== 'string') return line.retry ? 'opening' : 'heartbeat';
		if (line.topic === 'counter' || line.topic === 'stats') return;
		const time = new Date(line.time ?? Date.now());
		this.#handlers.onEvent({ ...line, topic: line.topic ?? '', type: line.type ?? 'message', time, old: time < opened });
	}
}

// The time by the server's clock. Its header counts whole seconds: where the two clocks
// agree that well, the browser's is the finer one.
function serverTime(answer) {
	const now = Date.now();
	const said = Date.parse(answer.headers.get('Date') ?? '');
	return Number.isNaN(said) || Math.abs(now - said - 500) < 1500 ? now : said + 1000;
}

async function reason(answer) {
	try {
		return (await answer.json()).error.message;
	} catch {
		return 'the server does not let this page read';
	}
}

function sleep(ms, signal) {
	return new Promise((done) => {
		const timer = setTimeout(wake, ms);
		function wake() {
			clearTimeout(timer);
			removeEventListener('online', wake);
			signal.removeEventListener('abort', wake);
			done();
		}
		addEventListener('online', wake);
		signal.addEventListener('abort', wake);
	});
}
