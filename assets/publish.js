// The form that publishes one event, and the line to paste that does the same.

import { $ } from './dom.js';
import { keep, token, watch } from './token.js';

/** publishing wires the form, the words about the token and the line to paste. */
export function publishing() {
	const form = $('publish-form'), said = $('published');

	function tell() {
		$('token-missing').hidden = token() !== '';
		$('token-kept').hidden = token() === '';
		$('paste-line').textContent = curl(token() ? '••••••••' : 'TOKEN');
	}
	$('token-link').textContent = `${new URL('./', location.href)}#token=…`;
	$('forget').addEventListener('click', () => keep(''));
	watch(() => { tell(); said.textContent = ''; });
	tell();

	$('copy').addEventListener('click', async () => {
		try {
			await navigator.clipboard.writeText(curl(token() || 'TOKEN'));
			$('copy').textContent = 'copied';
		} catch {
			$('copy').textContent = 'not allowed here'; // only https and localhost have the clipboard
		}
		setTimeout(() => { $('copy').textContent = 'copy'; }, 2000);
	});

	form.addEventListener('submit', async (e) => {
		e.preventDefault();
		const button = form.querySelector('button');
		button.disabled = true;
		const [words, ok] = await send(form.elements.topic.value.trim(), form.elements.type.value.trim(), form.elements.data.value);
		button.disabled = false;
		said.textContent = words;
		said.classList.toggle('wrong', !ok);
	});
	form.elements.data.addEventListener('keydown', (e) => {
		if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) form.requestSubmit();
	});
	form.addEventListener('input', () => { said.textContent = ''; });
}

const patience = 10_000; // ms for an answer

async function send(topic, type, data) {
	// A path of dots would be resolved away before it reached the server.
	if (/^\.*$/.test(topic)) return ['topic: dots stand between names, as in orders.new', false];
	const url = `event/${encodeURIComponent(topic)}${type ? `?type=${encodeURIComponent(type)}` : ''}`;
	const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
	if (token()) headers.Authorization = `Bearer ${token()}`;
	let answer, body;
	try {
		answer = await fetch(url, { method: 'POST', headers, body: data, signal: AbortSignal.timeout(patience) });
	} catch (error) {
		if (error.name === 'TimeoutError') return ['no answer: close other windows of this page, the browser has six connections for them all', false];
		return ['not sent: the server cannot be reached', false];
	}
	try {
		body = await answer.json();
	} catch {
		body = {};
	}
	if (answer.ok) return [`published, id ${body.id}`, true];
	return [`not published: ${body.error?.message ?? `the server answered ${answer.status}`}`, false];
}

function curl(bearer) {
	const header = `Authorization: Bearer ${bearer}`.replaceAll("'", "'\\''");
	return `curl -H '${header}' -d 'hello' ${new URL('event/news', location.href)}`;
}
