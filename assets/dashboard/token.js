// The token that publishing needs. It comes in the URL's fragment, which reaches no server
// and no log, is stripped from the URL at once and kept for the life of the tab.

import { stored } from './dom.js';

const key = 'freshet.token';
let kept = stored('sessionStorage', key) ?? '';
const watchers = [];

/** token returns the token, or the empty string. */
export const token = () => kept;

/** keep replaces the token; the empty string forgets it. */
export function keep(value) {
	kept = value;
	stored('sessionStorage', key, value);
	for (const tell of watchers) tell();
}

/** watch calls tell after every change of the token. */
export const watch = (tell) => watchers.push(tell);

function take() {
	// Not URLSearchParams: it would read the + of a token as a space.
	const found = /(?:^#|&)token=([^&]*)/.exec(location.hash);
	if (!found) return;
	history.replaceState(null, '', location.pathname + location.search);
	let value = found[1];
	try {
		value = decodeURIComponent(value);
	} catch {
		// Not percent-encoded: taken as it is.
	}
	keep(value.trim());
}

take();
addEventListener('hashchange', take);
