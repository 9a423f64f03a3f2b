// The form that publishes one event, and the line to paste that does the same.

import { $, copyBy, write } from './dom.js';
import { curl, here } from './format.js';
import { keep, token, watch } from './token.js';

const example = { topic: 'news', data: 'hello' };
const patience = 10_000; // ms for an answer

/** publishing wires the forms, the words about the token and the line to paste. */
export function publishing() {
	const form = $('publish-form'), said = $('published'), { topic, type, data } = form.elements;
	const say = (words, wrong) => {
		said.textContent = words;
		said.classList.toggle('wrong', wrong);
	};

	function tell() {
		$('token-form').hidden = token() !== '';
		$('token-kept').hidden = token() === '';
		$('paste-line').textContent = curl(example, token() ? '••••••••' : 'TOKEN');
	}
	$('token-form').addEventListener('submit', (e) => {
		e.preventDefault();
		keep(e.target.elements.token.value.trim());
		e.target.reset();
	});
	$('forget').addEventListener('click', () => keep(''));
	watch(() => { tell(); say('', false); });
	tell();
	$('copy').addEventListener('click', () => copyBy($('copy'), curl(example, token() || 'TOKEN')));

	form.addEventListener('submit', async (e) => {
		e.preventDefault();
		if (!token()) return say('not sent: publishing needs the token', true);
		const button = form.querySelector('button');
		button.disabled = true;
		const [words, ok] = await send(topic.value.trim(), type.value.trim(), data.value);
		button.disabled = false;
		say(words, !ok);
	});
	data.addEventListener('keydown', (e) => {
		if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) form.requestSubmit();
	});
	const look = () => {
		const [words, doubtful] = check(data.value);
		write($('check'), words);
		$('check').classList.toggle('doubtful', doubtful);
	};
	form.addEventListener('input', () => { look(); say('', false); });
	form.addEventListener('reset', () => setTimeout(look));
}

// What the data is. Text is as good as JSON; what begins as JSON is meant to be.
function check(text) {
	if (!/^\s*[[{]/.test(text)) return ['text', false];
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
	// A path of dots would be resolved away before it reached the server.
	if (/^\.*$/.test(topic)) return ['topic: dots stand between names, as in orders.new', false];
	const url = here(`event/${encodeURIComponent(topic)}${type ? `?type=${encodeURIComponent(type)}` : ''}`);
	const headers = { 'Content-Type': 'text/plain; charset=utf-8', Authorization: `Bearer ${token()}` };
	let answer, body;
	try {
		answer = await fetch(url, { method: 'POST', headers, body: data, signal: AbortSignal.timeout(patience) });
		body = await answer.json();
	} catch (error) {
		if (error.name === 'TimeoutError') return ['no answer: the browser has six connections for all windows of this page', false];
		if (!answer) return ['not sent: the server cannot be reached', false];
	}
	if (answer.ok) return [`published, id ${body?.id}`, true];
	return [`not published: ${body?.error?.message ?? `the server answered ${answer.status}`}`, false];
}
