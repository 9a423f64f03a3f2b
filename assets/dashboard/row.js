// A row of the feed, what opens beneath it, and sentences between the rows.

import { button, copyBy, element } from './dom.js';
import { clock, group } from './format.js';
import { coloured, tree } from './json.js';

const mostShown = 400; // characters of a payload on its line

/** dress fills a row for the event; colour costs, so rows that rush past go without. */
export function dress(li, item, today, calm) {
	const line = li.firstElementChild;
	const [time, topic, type, data, id] = line.querySelectorAll('.t');
	const text = item.data.slice(0, mostShown);
	time.textContent = clock(item.time, today);
	topic.textContent = item.topic;
	if (item.type !== item.topic) type.textContent = item.type;
	if (calm) data.append(...coloured(text));
	else data.textContent = text;
	id.textContent = item.id;
	line.item = item;
	return li;
}

/** noteRow is a sentence; with from, it offers the replay. */
export function noteRow({ note, time, from }, today, does) {
	const li = element('li', 'said', element('time', '', clock(time, today)), ' ', element('span', '', note));
	if (from) li.lastChild.append(' ', button('replay them', () => does.replay(from)));
	return li;
}

/** detail is what opens beneath a row. */
export function detail(item, does) {
	const { id, topic, type, time, data } = item;
	const payload = element('pre', '', tree(data) ?? (data || '(no data)'));
	payload.tabIndex = 0;
	payload.setAttribute('aria-label', 'data');
	payload.setAttribute('role', 'group');
	// Isolated, as names may be written from right to left.
	const facts = element('p', '', `id ${id} · topic `, element('bdi', '', topic), ' · type ', element('bdi', '', type));
	if (time) facts.append(` · ${time.toISOString()}`);
	const acts = element('p', 'acts',
		button('replay from here', () => does.replay(id)), ' ',
		button('copy as curl', (b) => does.curl(item, b)), ' ',
		button('copy data', (b) => copyBy(b, data)));
	return element('div', 'detail', payload, facts, acts);
}

/** gapSentence says what is missing, as exactly as the gap tells. */
export function gapSentence(gap) {
	if (gap.reason === 'epoch') return 'The server has a new log: events of the one before it are gone.';
	if (gap.reason === 'unknown') return 'The place to resume from is unknown: events may be missing here.';
	const [from, to] = [gap.requested, gap.first].map((id) => /^([a-z0-9]+)-(\d+)$/.exec(id ?? ''));
	const lost = from && to && from[1] === to[1] ? Number(to[2]) - Number(from[2]) - 1 : 0;
	if (lost === 1) return '1 event is gone: the log no longer keeps it.';
	return `${lost > 1 ? group(lost) : 'Some'} events are gone: the log no longer keeps them.`;
}
