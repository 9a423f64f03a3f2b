// Reading the server's lines, and reconnecting.

const maxWait = 30_000; // ms between two attempts, unless the server asks for more
const maxTimer = 2 ** 31 - 1; // ms: a longer timer fires at once
const maxSilence = 600_000; // ms
const maxLine = 256 << 20; // characters: the largest body that a server accepts, 32 MiB, with every byte escaped
const renewalPause = 5000; // ms between two credentials that are fetched without a wait
const patience = 2.5; // heartbeats
const wakePause = 1000; // ms between two reconnections by wake
const liveAfter = 250; // ms after which an answer that only has a retry counts as a stream

/**
 * Connection reads until it is closed. When the stream breaks it reconnects, with growing waits. Its owner is called back:
 *
 *   - request(signal) resolves to the URL and the headers of the next request,
 *   - onLines(lines) gets parsed lines in order,
 *   - onStatus({ state, … }) says live or reconnecting,
 *   - renewCredential() discards the credential, and returns whether the next request can have another one,
 *   - onRefused({ reason, status }) comes last, after the server has refused the stream for good.
 */
export class Connection {
	#owner;
	#attempt = new AbortController(); // ends the stream that is read, or the wait for the next
	#replacement = null; // an attempt that opens beside it
	#replacedBy = null; // a replacement that is open: { attempt, response }
	#isClosed = false;
	#isRestarting = false;
	#failures = 0;
	#refusedCredentials = 0; // in a row
	#renewedAt = 0; // when a credential was last renewed without a wait
	#retry = 2000;
	#busyUntil = 0; // the server refuses requests until then
	#wokenAt = 0;
	#lastDataAt = Infinity; // Infinity: nothing is being read
	#heartbeat; // ms: the longest silence of a living server, as far as known
	#allowedSilence;
	#silenceTimer;
	#networkListeners = new AbortController();

	constructor(owner) {
		this.#owner = owner;
		this.#heartbeat = owner.heartbeat;
		this.#allowedSilence = patience * owner.heartbeat;
		this.#silenceTimer = setInterval(() => {
			if (Date.now() - this.#lastDataAt <= this.#allowedSilence) return;
			this.#allowedSilence = Math.min(2 * this.#allowedSilence, maxSilence); // until heartbeats show the server's interval
			this.#attempt.abort(new Error('the server sent nothing for too long'));
		}, Math.min(1000, owner.heartbeat));
		const { signal } = this.#networkListeners;
		globalThis.addEventListener?.('offline', () => {
			if (this.#lastDataAt !== Infinity) this.#attempt.abort(new Error('offline'));
		}, { signal });
		this.#run();
	}

	close() {
		this.#isClosed = true;
		this.#attempt.abort();
		this.#replacement?.abort();
		this.#networkListeners.abort();
		clearInterval(this.#silenceTimer);
	}

	/** Ends the stream, or the wait, and sends the next request now. */
	restart() {
		this.#isRestarting = true;
		this.#attempt.abort();
	}

	/**
	 * Reconnects now if no server may be there: a heartbeat is missing, or the last attempt has failed. It does not shorten a wait
	 * that the server has asked for.
	 */
	wake() {
		const now = Date.now();
		if (now - this.#wokenAt < wakePause || now < this.#busyUntil) return;
		if (this.#lastDataAt !== Infinity) {
			if (now - this.#lastDataAt <= this.#heartbeat) return;
			this.#lastDataAt = now;
			this.#owner.onStatus({ state: 'reconnecting', wait: 0, until: now, reason: 'the page may have slept, and the server sent no heartbeat' });
		}
		this.#wokenAt = now;
		this.restart();
	}

	/** Opens another stream with a new request, and only then ends the current one. If that fails, the current one stays. */
	async replace() {
		const current = this.#attempt;
		this.#replacement?.abort();
		if (this.#lastDataAt === Infinity) return; // the next attempt sends a new request anyway
		const attempt = this.#replacement = new AbortController();
		try {
			const response = await this.#fetch(attempt.signal);
			if (this.#attempt === current && !current.signal.aborted && isStream(response)) {
				this.#replacedBy = { attempt, response };
				this.restart();
				return;
			}
		} catch {
			// The server ends the current stream when its credential expires. That tells the page.
		}
		attempt.abort();
	}

	async #run() {
		while (!this.#isClosed) {
			this.#isRestarting = false;
			let end = {};
			try {
				end = await this.#read();
			} catch (error) {
				if (!this.#isClosed && !this.#isRestarting) end.reason = String(error?.message ?? error);
			}
			this.#lastDataAt = Infinity;
			if (this.#isClosed) return;
			if (end.isFinal) {
				this.close();
				return this.#owner.onRefused({ reason: end.reason, status: end.status });
			}
			if (!this.#isRestarting && !end.reconnectNow) await this.#wait(end);
		}
	}

	async #wait({ retryAfter = 0, ...more }) {
		this.#failures++;
		this.#busyUntil = Date.now() + retryAfter;
		const backoff = Math.min(maxWait, this.#retry * 2 ** Math.min(this.#failures - 1, 10));
		const jitter = this.#failures > 1 ? 0.5 + Math.random() / 2 : 1; // the server's own retry has jitter
		const wait = Math.min(Math.max(backoff * jitter, this.#retry, retryAfter), maxTimer);
		const { signal } = this.#attempt = new AbortController();
		this.#owner.onStatus({ state: 'reconnecting', wait, until: Date.now() + wait, ...more });
		await new Promise((done) => {
			const timer = setTimeout(done, wait);
			signal.addEventListener('abort', () => done(clearTimeout(timer)));
		});
	}

	/** Reads one stream to its end. Returns what that means for the next attempt. */
	async #read() {
		this.#lastDataAt = Date.now();
		const opened = this.#replacedBy;
		if (!opened) this.#replacement?.abort();
		this.#replacement = this.#replacedBy = null;
		const attempt = this.#attempt = opened?.attempt ?? new AbortController();
		const response = opened?.response ?? await this.#fetch(attempt.signal);
		return isStream(response) ? this.#readLines(response, attempt.signal) : this.#explainRefusal(response);
	}

	async #fetch(signal) {
		const [url, headers] = await this.#owner.request(signal);
		return fetch(url, { headers, signal, cache: 'no-store' });
	}

	async #readLines(response, signal) {
		let isLive = false, hasExpired = false, liveTimer, partialLine = '';
		const setLive = () => {
			if (isLive) return;
			isLive = true;
			this.#refusedCredentials = 0;
			this.#owner.onStatus({ state: 'live', id: response.headers.get('Freshet-Stream') ?? '' });
		};
		try {
			const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
			for (;;) {
				const { done, value } = await reader.read();
				signal.throwIfAborted();
				if (done && !isLive) return { retryAfter: this.#retry }; // a full server may answer with a retry alone
				if (done) return { reconnectNow: hasExpired && this.#owner.renewCredential() && this.#mayRenewNow() };
				const silence = Date.now() - this.#lastDataAt;
				this.#lastDataAt += silence;
				const texts = (partialLine + value).split('\n');
				partialLine = texts.pop();
				if (partialLine.length > maxLine) throw new Error('a line is too long');
				const lines = texts.map(parseLine).filter(Boolean);
				for (const line of lines) {
					if (line.type === 'busy' && !line.topic) return this.#explainBusy(line, reader);
					if (line.retry) [this.#retry, this.#failures] = [line.retry, 0];
					else if (line.data === undefined && silence < this.#allowedSilence) {
						this.#heartbeat = Math.max(silence, this.#owner.heartbeat); // this line is one
						this.#allowedSilence = patience * this.#heartbeat;
					}
					hasExpired ||= line.type === 'auth-expired' && !line.topic;
				}
				if (lines.some((line) => line.id || line.data !== undefined)) setLive();
				else liveTimer ??= setTimeout(setLive, liveAfter);
				if (lines.length) this.#owner.onLines(lines);
				signal.throwIfAborted(); // a listener may have closed the stream
			}
		} finally {
			clearTimeout(liveTimer);
		}
	}

	/** A server that is full or shutting down says when to come back. */
	#explainBusy({ data }, reader) {
		reader.cancel().catch(() => {}); // the stream may have ended
		this.#failures = 0;
		const { reason, retry_ms: retryAfter } = JSON.parse(data);
		return { retryAfter: Number(retryAfter) || 0, reason: `the server is busy: ${reason}`, busy: reason };
	}

	async #explainRefusal(response) {
		const { status } = response;
		let reason;
		try {
			reason = (await response.json()).error.message;
		} catch {
			reason = { 200: 'the answer is not an event stream', 204: 'the topics have ended' }[status] ?? `the server answered ${status} ${response.statusText}`.trim();
		}
		if (status === 401 && this.#owner.renewCredential() && ++this.#refusedCredentials < 3) {
			return { reconnectNow: this.#mayRenewNow(), reason, status };
		}
		// As with EventSource, 204 means that no more events come.
		const isFinal = status === 204 || status >= 400 && status < 500 && ![408, 425, 429].includes(status);
		return { isFinal, reason, status, retryAfter: 1000 * (Number(response.headers.get('Retry-After')) || 0) };
	}

	/** Another credential is tried without a wait, but not again and again. */
	#mayRenewNow() {
		const before = this.#renewedAt;
		this.#renewedAt = Date.now();
		return this.#renewedAt - before > renewalPause;
	}
}

/** A proxy that answers for its server sends the type of an event stream. */
function isStream(response) {
	return response.status === 200 && /ndjson|event-stream/.test(response.headers.get('Content-Type'));
}

function parseLine(text) {
	const retry = /^retry: *(\d+)/.exec(text);
	if (retry) return { retry: Number(retry[1]) };
	try {
		const value = JSON.parse(text);
		return typeof value === 'object' ? value : null;
	} catch {
		return null; // empty, or not from Freshet
	}
}
