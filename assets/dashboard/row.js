// A row of the feed, its details, and notices between rows.

import { button, copyByButton, element } from './dom.js';
import { clock, group } from './format.js';
import { coloured, tree } from './json.js';

const maxLine = 240; // characters of a payload

/** shortID is the sequence number of an ID, because all IDs of a log have the same epoch. */
export const shortID = (id) => id.slice(id.lastIndexOf('-') + 1);

/** fillRow shows the event in the row, and marks what the filter has found. */
export function fillRow(li, item, today, filter) {
	const line = li.firstElementChild;
	const [time, topic, type, data, id] = line.querySelectorAll('.t');
	time.textContent = clock(item.time, today);
	topic.textContent = topic.title = item.topic;
	if (item.type !== item.topic) type.textContent = type.title = item.type;
	if (gap.reason === 'purged') return `The earlier events of ${gap.topic} were deleted on request.`;
	const [from, to] = filter.range(item.data, maxLine);
	data.append(...coloured(item.data.slice(0, to)));
	if (from) cutBegin(data, from);
	if (filter.isSet) filter.mark(topic, type, data);
	id.textContent = shortID(item.id);
	id.title = item.id;
	line.item = item;
	return li;
}

// Colours depend on what comes before, so the beginning is cut off afterwards.
function cutBegin(cell, n) {
	while (cell.firstChild && cell.firstChild.textContent.length <= n) {
		n -= cell.firstChild.textContent.length;
		cell.firstChild.remove();
	}
	const first = cell.firstChild;
	if (first) first.textContent = first.textContent.slice(n);
	cell.prepend('…');
}

/** noticeRow shows a sentence. If it has an ID from, it offers to replay from there. */
export function noticeRow({ note, time, from }, today, actions) {
	const li = element('li', 'notice', element('time', '', clock(time, today)), ' ', element('span', '', note));
	if (from) li.lastChild.append(' ', button('replay them', () => actions.replay(from)));
	return li;
}

/** details opens beneath a row. */
export function details(item, actions) {
	const { id, topic, type, time, data } = item;
	const payload = element('pre', '', tree(data) ?? (data || '(no data)'));
	payload.tabIndex = 0;
	payload.setAttribute('aria-label', 'data');
	payload.setAttribute('role', 'group');
	// Isolated, because names may be written from right to left.
	const facts = element('p', '', `id ${id} · topic `, element('bdi', '', topic), ' · type ', element('bdi', '', type));
	if (time) facts.append(` · ${time.toISOString()}`);
	const buttons = element('p', 'acts',
		button('replay from here', () => actions.replay(id)), ' ',
		button('copy as curl', (b) => actions.curl(item, b)), ' ',
		button('copy data', (b) => copyByButton(b, data)));
	return element('div', 'detail', payload, facts, buttons);
}

/** gapSentence says which events are missing, as exactly as the gap does. */
export function gapSentence(gap) {
	if (gap.reason === 'epoch') return 'The server has a new log: events of the old log are gone.';
	if (gap.reason === 'unknown') return 'The place to resume from is unknown: events may be missing here.';
	const [from, to] = [gap.requested, gap.first].map((id) => /^([a-z0-9]+)-(\d+)$/.exec(id ?? ''));
	const lost = from && to && from[1] === to[1] ? Number(to[2]) - Number(from[2]) - 1 : 0;
	if (lost === 1) return '1 event is gone: the log no longer keeps it.';
	return `${lost > 1 ? group(lost) : 'Some'} events are gone: the log no longer keeps them.`;
}
