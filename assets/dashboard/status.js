// The line on top: the state of the stream or of the feed, the reason, what to do about it, and the gaps that nobody has dismissed.

import { plain } from './access.js';
import { $, write } from './dom.js';
import { clock, group, plural } from './format.js';
import { token } from './token.js';

/**
 * describe returns the state in plain words: kind is for the style sheet, act is the button that helps. feed says why it is
 * paused, and how many events wait.
 */
export function describe({ state, detail }, feed, hasToken) {
	const wait = Math.ceil((detail.until - Date.now()) / 1000);
	const held = feed.paused && [feed.replaying ? 'the feed shows a replay' : feed.isOpen ? 'a row is open' : '', `${plural(feed.waiting, 'event')} waiting`].filter(Boolean).join(', ');
	switch (state) {
	case 'connecting': return { kind: 'connecting', words: 'connecting…' };
	case 'reconnecting': return {
		kind: 'waiting', words: wait > 0 ? `reconnecting in ${wait} s` : 'reconnecting…', act: wait > 0 ? 'retry now' : '',
		reason: reasonOf(detail) + (held ? '; the feed is paused' : ''),
	};
	case 'auth-expired': return { kind: 'refused', words: 'the token has expired', reason: 'Enter another token to continue.' };
	case 'closed': return { kind: 'refused', words: 'not allowed to read', reason: hasToken ? plain(detail.reason) : 'reading needs a token here' };
	}
	if (held) return { kind: 'paused', words: 'paused', reason: held, act: feed.replaying ? 'back to live' : 'resume' };
	if (state !== 'resumed') return { kind: 'live', words: 'live' };
	return { kind: 'live', words: detail.events ? `resumed, ${plural(detail.events, 'missed event')} received` : 'resumed, nothing missed' };
}

// The client module passes on the browser's own words, which differ.
function reasonOf({ busy, status, reason = '' }) {
	if (busy) return `the server is busy: ${busy.replaceAll('_', ' ')}`;
	if (!navigator.onLine) return 'this browser is offline';
	if (status) return `the server answered ${status}`;
	if (/^the (server|page) /.test(reason)) return reason;
	return reason ? 'the server cannot be reached' : 'the server closed the stream';
}

/** Status shows it. act gets the words of the button. */
export class Status {
	#gaps = [];
	#shown = '';
	#spoken = '';

	constructor(act) {
		$('act').addEventListener('click', () => act($('act').textContent));
		$('dismiss').addEventListener('click', () => {
			this.#gaps = [];
			this.#showGaps();
		});
	}

	show(stream, feed) {
		const { kind, words, reason = '', act = '' } = describe(stream, feed, token() !== '');
		const shown = [kind, words, reason, act].join('\n');
		if (shown === this.#shown) return; // the feed asks in each frame
		this.#shown = shown;
		write($('state'), words);
		write($('reason'), reason);
		$('reason').title = reason;
		write($('act'), act);
		$('act').hidden = !act;
		$('bar').dataset.state = kind;
		// What the page shows is out of date only without a stream. A paused feed has one.
		document.documentElement.dataset.state = kind === 'paused' ? 'live' : kind;
		// A screen reader speaks this: once for each state, not once a second.
		const steady = words.replace(/…| in \d+ s$/, ''), spoken = kind === 'waiting' ? `${steady}, ${reason}` : steady;
		if (spoken !== this.#spoken) this.say(spoken);
		this.#spoken = spoken;
		document.title = kind === 'live' ? 'freshet' : `${steady} – freshet`;
	}

	/** say speaks the words. */
	say(words) {
		write($('announcer'), words);
	}

	/** addGap shows the sentence until it is dismissed. */
	addGap(sentence) {
		this.#gaps.push({ sentence, time: new Date() });
		this.#showGaps();
		this.say(`gap: ${sentence}`);
	}

	#showGaps() {
		const last = this.#gaps.at(-1), n = this.#gaps.length;
		$('gap').hidden = !last;
		if (!last) return;
		const begin = n > 1 ? `${group(n)} gaps, the last at` : 'gap at';
		$('gap-text').textContent = $('gap-text').title = `${begin} ${clock(last.time).replace(/\.\d+$/, '')}: ${last.sentence}`;
	}
}
