// The ticket or token that a stream's requests carry.

const maxTimer = 2 ** 31 - 1; // ms: a longer timer fires at once
const firstRetry = 1000; // ms
const maxRetry = 30_000; // ms

/**
 * Credential keeps what source returns. Source is a string, or a function that fetches a credential. If a fetched credential says
 * when it expires, Credential fetches the next one before that and calls onRenewed. Each client draws its own moment, because
 * credentials of many clients may have been issued together.
 */
export class Credential {
	#source;
	#onRenewed;
	#value;
	#expires = Infinity; // ms since 1970, by this browser's clock
	#timer = 0; // of the next renewal; 0: none is planned
	#failures = 0;

	constructor(source, onRenewed) {
		this.#source = typeof source === 'function' ? async () => source() : source;
		this.#onRenewed = onRenewed;
	}

	get isRenewable() { return typeof this.#source === 'function'; }
	get isMissing() { return this.#value === undefined; }

	/** Returns the credential and renews it from now on, until stopRenewing. Rejects if fetching fails. */
	async get() {
		if (Date.now() >= this.#expires) this.discard();
		if (this.isMissing) this.#keep(this.isRenewable ? await this.#source() : this.#source);
		else if (!this.#timer) this.#planRenewal();
		return this.#value;
	}

	/** The next get fetches another one, because the server does not accept this one. */
	discard() {
		this.#value = undefined;
		this.#expires = Infinity;
		this.stopRenewing();
	}

	stopRenewing() {
		clearTimeout(this.#timer);
		this.#timer = this.#failures = 0;
	}

	#keep(value) {
		this.stopRenewing();
		this.#value = value;
		this.#expires = expiryOf(value);
		this.#planRenewal();
	}

	#planRenewal() {
		if (!this.isRenewable || this.#expires === Infinity) return;
		this.#setTimer((this.#expires - Date.now()) * (0.7 + 0.2 * Math.random()));
	}

	#setTimer(delay) {
		this.#timer = setTimeout(() => this.#renew(), Math.min(delay, maxTimer));
	}

	async #renew() {
		const timer = this.#timer;
		const next = await this.#source().catch(() => undefined);
		if (this.#timer !== timer) return; // a request has fetched another one meanwhile, or renewing has stopped
		if (next && next !== this.#value) {
			this.#keep(next);
			this.#onRenewed();
		} else if (Date.now() < this.#expires) {
			this.#setTimer(Math.min(maxRetry, firstRetry * 2 ** Math.min(this.#failures++, 10)) * (0.5 + Math.random() / 2));
		}
	}
}

/**
 * expiryOf reads the claim exp of a JSON web signature, as Freshet's tickets are. Infinity means unknown: the credential has another
 * form, or this browser's clock is wrong, because nobody fetches an expired credential.
 */
function expiryOf(credential) {
	try {
		const [, payload] = credential.split('.');
		const expires = 1000 * JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))).exp;
		return expires > Date.now() ? expires : Infinity;
	} catch {
		return Infinity;
	}
}
