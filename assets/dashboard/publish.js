// The form that publishes one event, and the command that does the same.

import { plain } from './access.js';
import { $, copyByButton, write } from './dom.js';
import { curl, here } from './format.js';
import { onTokenChange, token } from './token.js';

const example = { topic: 'news', data: 'hello' };
const timeout = 10_000; // ms

/** wirePublishing wires the form and the command. */
export function wirePublishing() {
	const form = $('publish-form'), result = $('published'), { topic, type, data } = form.elements;
	const showResult = (words, wrong) => {
		result.textContent = words;
		result.classList.toggle('wrong', wrong);
	};

	const showLine = () => { $('paste-line').textContent = curl(example, token() ? '••••••••' : 'TOKEN'); };
	onTokenChange(() => { showLine(); showResult('', false); });
	showLine();
	$('copy').addEventListener('click', () => copyByButton($('copy'), curl(example, token() || 'TOKEN')));

	form.addEventListener('submit', async (e) => {
		e.preventDefault();
		if (!token()) return showResult('not sent: publishing needs a token', true);
		const button = form.querySelector('button');
		button.disabled = true;
		const [words, ok] = await send(topic.value.trim(), type.value.trim(), data.value);
		button.disabled = false;
		showResult(words, !ok);
	});
	data.addEventListener('keydown', (e) => {
		if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) form.requestSubmit();
	});
	const showCheck = () => {
		const [words, doubtful] = check(data.value);
		write($('check'), words);
		$('check').classList.toggle('doubtful', doubtful);
	};
	form.addEventListener('input', () => { showCheck(); showResult('', false); });
	form.addEventListener('reset', () => setTimeout(showCheck));
}

// Says what the data is. Data that begins like JSON is probably meant to be JSON.
function check(text) {
	if (!/^\s*[[{]/.test(text)) return [text && 'text', false];
	try {
		JSON.parse(text);
		return ['JSON', false];
	} catch (error) {
		const reason = String(error.message).replace(/^JSON\.parse: |, \.{3}.*| in JSON.*| \(line.*/g, '');
		const at = /line (\d+) column (\d+)/.exec(error.message);
		return [`not JSON yet: ${reason}${at ? `, line ${at[1]} column ${at[2]}` : ''}`, true];
	}
}

async function send(topic, type, data) {
	// The browser would remove a path of dots from the URL.
	if (/^\.*$/.test(topic)) return ['topic: dots separate segments, as in orders.new', false];
	const url = here(`event/${encodeURIComponent(topic)}${type ? `?type=${encodeURIComponent(type)}` : ''}`);
	const headers = { 'Content-Type': 'text/plain; charset=utf-8', Authorization: `Bearer ${token()}` };
	let answer, body;
	try {
		answer = await fetch(url, { method: 'POST', headers, body: data, signal: AbortSignal.timeout(timeout) });
		body = await answer.json();
	} catch (error) {
		if (error.name === 'TimeoutError') return ['no answer: perhaps other tabs use all six connections of this browser to the server', false];
		if (!answer) return ['not sent: the server cannot be reached', false];
	}
	if (answer.ok) return [`published, id ${body?.id}`, true];
	return [`not published: ${plain(body?.error?.message) || `the server answered ${answer.status}`}`, false];
}
