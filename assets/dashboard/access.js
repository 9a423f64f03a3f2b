// Requests with the token, and the forms that take one.

import { $ } from './dom.js';
import { here } from './format.js';
import { onTokenChange, setToken, token } from './token.js';

const timeout = 10_000; // ms

/** request asks the server, with the token if there is one. It returns null if the server cannot be reached. */
export const request = (path, method = 'GET') => fetch(here(path), {
	method, headers: token() ? { Authorization: `Bearer ${token()}` } : {}, signal: AbortSignal.timeout(timeout),
}).catch(() => null);

/** plain removes what the words before a message say again. */
export const plain = (message = '') => message.replace(/^not (allowed|authenticated): /, '');

/** explain says why a request failed. */
export async function explain(answer) {
	if (!answer) return 'the server cannot be reached';
	const body = await answer.json().catch(() => null);
	return plain(body?.error?.message) || `the server answered ${answer.status}`;
}

/** wireToken wires the forms that take a token, and the button that forgets it. */
export function wireToken() {
	for (const form of document.querySelectorAll('.token-form')) {
		form.addEventListener('submit', (e) => {
			e.preventDefault();
			setToken(form.elements.token.value.trim());
			form.reset();
		});
	}
	$('forget').addEventListener('click', () => setToken(''));
	const show = () => {
		$('token-form').hidden = token() !== '';
		$('token-kept').hidden = token() === '';
	};
	onTokenChange(show);
	show();
}
