// When the page sleeps and wakes.

const tick = 1000; // ms
const spread = 2000; // ms

/**
 * watchPage calls onSleep when the browser freezes the page, or keeps it for the back button. It calls onWake when the page may have
 * slept: it comes to the front, it is resumed, the network is back, or a timer fires much later than it was set. Phones and laptops
 * stop a page without an event. A hidden page waits up to two seconds before it wakes, so that the pages of a browser do not all
 * reconnect at once. Its late timers mean nothing, because browsers delay them.
 */
export function watchPage({ onSleep, onWake }, signal) {
	const { document } = globalThis;
	const isHidden = () => document?.visibilityState === 'hidden';
	let timer = 0, tickedAt = Date.now();
	const wake = () => {
		if (!isHidden()) return onWake();
		timer ||= setTimeout(() => {
			timer = 0;
			onWake();
		}, spread * Math.random());
	};
	const ticker = setInterval(() => {
		const isLate = Date.now() - tickedAt > 2 * tick;
		tickedAt = Date.now();
		if (isLate && !isHidden()) onWake();
	}, tick);
	signal.addEventListener('abort', () => {
		clearInterval(ticker);
		clearTimeout(timer);
	});
	globalThis.addEventListener?.('pagehide', onSleep, { signal });
	globalThis.addEventListener?.('pageshow', (e) => { if (e.persisted) wake(); }, { signal });
	globalThis.addEventListener?.('focus', wake, { signal });
	globalThis.addEventListener?.('online', wake, { signal });
	document?.addEventListener('freeze', onSleep, { signal });
	document?.addEventListener('resume', wake, { signal });
	document?.addEventListener('visibilitychange', () => { if (!isHidden()) onWake(); }, { signal });
}
