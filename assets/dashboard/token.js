// The publish token. It comes in the URL's fragment, which browsers send to no server. The page removes it from the URL at once and
// keeps it for the life of the tab.

import { stored } from './dom.js';

const key = 'freshet.token';
let value = stored('sessionStorage', key) ?? '';
const listeners = [];

/** token returns the token, or the empty string. */
export const token = () => value;

/** setToken replaces the token. The empty string forgets it. */
export function setToken(token) {
	value = token;
	stored('sessionStorage', key, token);
	for (const listener of listeners) listener();
}

/** onTokenChange calls the listener after each change of the token. */
export const onTokenChange = (listener) => listeners.push(listener);

function readFragment() {
	// URLSearchParams would read the + of a token as a space.
	const found = /(?:^#|&)token=([^&]*)/.exec(location.hash);
	if (!found) return;
	history.replaceState(null, '', location.pathname + location.search);
	let token = found[1];
	try {
		token = decodeURIComponent(token);
	} catch {
		// It is not percent-encoded.
	}
	setToken(token.trim());
}

readFragment();
addEventListener('hashchange', readFragment);
