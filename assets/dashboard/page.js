// Wires the page: one stream of the client module brings all that it shows.

import { connect } from '../freshet.js';
import { Connections } from './connections.js';
import { $, copy, copyBy, element, stored, write } from './dom.js';
import { Feed } from './feed.js';
import { drawPlots, showStats } from './figures.js';
import { curl, group, plural } from './format.js';
import { publishing } from './publish.js';
import { replay } from './replay.js';
import { gapSentence } from './row.js';
import { snippets } from './snippets.js';
import { token, watch } from './token.js';
import { Topics } from './topics.js';

const root = document.documentElement;
const settled = 400; // ms in which a stream that opened sends what was before

let stream, opened = Infinity, withToken = false;
let missed = 0; // events that came since the stream was resumed

function open() {
	stream = connect({ topics: ['>', 'counter', 'stats'], since: stream?.lastEventId || '-50', ...(withToken && { token: token() }) });
	stream.on('counter', (e) => writeCount(e.data));
	stream.on('stats', (e) => showStats(e.json()));
	stream.on('>', ({ id, topic, type, time, data }) => {
		const live = performance.now() - opened > settled;
		topics.seen({ topic, type, time }, live);
		feed.add({ id, topic, type, time, data });
	});
	stream.on('open', () => { opened = performance.now(); });
	stream.on('gap', (e) => feed.add({ note: gapSentence(e.json()), time: new Date() }));
	stream.on('drain', () => feed.add({ note: 'The server is closing this stream.', time: new Date() }));
	stream.on('state', (change) => {
		// Who may not read without one shows the token; nobody else needs to.
		if (change.state === 'closed' && [401, 403].includes(change.status) && !withToken && token()) {
			withToken = true;
			return open();
		}
		if (change.state === 'resumed') missed = change.events;
		if (change.state === 'live' && missed) {
			feed.add({ note: `Resumed, ${plural(missed, 'event')} caught up.`, time: new Date() });
			missed = 0;
		}
		tellState(true);
	});
}

// The state in plain words, and what it is to be taken for.
function words() {
	const { state, detail } = stream, wait = Math.ceil((detail.until - Date.now()) / 1000);
	switch (state) {
	case 'connecting': return ['connecting…', 'connecting'];
	case 'reconnecting': return [wait > 0 ? `reconnecting in ${wait} s` : 'reconnecting…', 'waiting'];
	case 'resumed': return [detail.events ? `resumed, ${plural(detail.events, 'event')} caught up` : 'resumed, nothing missed', 'live'];
	case 'gap': return [`gap: ${gapSentence(detail.gap).split(':')[0]}`, 'waiting'];
	case 'auth-expired': return ['the right to read has ended', 'refused'];
	case 'closed': return [`not allowed to read: ${detail.reason}`, 'refused'];
	}
	return ['live', 'live'];
}

function tellState(changed) {
	const [text, kind] = words();
	write($('state'), text);
	$('state').dataset.state = root.dataset.state = kind;
	// Spoken once for each state, not once a second.
	if (changed) write($('said'), stream.state === 'reconnecting' ? 'reconnecting' : text);
}

// The element's text stays the plain count; the space in the thousands is the style sheet's.
function writeCount(data) {
	$('cnt').replaceChildren(...data.split(/\B(?=(?:\d{3})+$)/).map((digits) => element('span', '', digits)));
}

const does = {
	curl: async (event, button) => (button ? copyBy(button, curl(event)) : say(`${await copy(curl(event))} as curl`)),
	replay: (id) => replay(feed, id, stream.lastEventId, withToken ? token() : '', tellFeed),
};
const feed = new Feed($('rows'), $('row'), tellFeed, does);
const topics = new Topics(choose);
const choosing = snippets((matches) => topics.typesOf(matches));
const connections = new Connections();

let note = '', noteUntil = 0;

// A word that passes.
function say(words) {
	[note, noteUntil] = [words, performance.now() + 3000];
	write($('said'), words);
	tellFeed();
}

function tellFeed() {
	let text = '';
	if (feed.replaying) text = replay.words;
	else if (feed.paused) text = `paused, ${group(feed.waiting)} waiting`;
	write($('feed-note'), performance.now() < noteUntil ? note : text);
	$('more').hidden = !feed.replaying || !replay.next;
	write($('pause'), feed.replaying ? 'back to live' : feed.paused ? 'resume' : 'pause');
	$('only').hidden = !feed.filtered;
	$('feed-empty').hidden = !feed.blank;
	$('paste').hidden = !feed.empty;
	write($('feed-empty-text'), feed.empty
		? 'Nothing published yet. Send the first event from a terminal:'
		: feed.replaying ? 'No event from there on matches.' : 'No event here matches. New ones that do will appear.');
	$('topics-empty').hidden = topics.size > 0;
}

function choose(pattern) {
	$('pattern').value = pattern;
	topics.choose(pattern);
	choosing(pattern);
	feed.filter({ pattern });
}

const pause = () => (feed.paused ? feed.resume() : feed.pause());
$('pause').addEventListener('click', pause);
$('more').addEventListener('click', () => does.replay(replay.next));
$('pattern').addEventListener('input', () => choose($('pattern').value.trim()));
$('filter').addEventListener('input', () => feed.filter({ text: $('filter').value }));
$('only').addEventListener('click', () => {
	$('filter').value = '';
	choose('');
	feed.filter({ text: '' });
	$('filter').focus();
});
$('feed').addEventListener('keydown', (e) => {
	const typing = e.target.matches('input');
	if (e.key === 'Escape' && typing) $('only').click();
	else if (e.key === 'Escape' && feed.paused) feed.resume();
	else if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
	else if (e.key === 'p') pause();
	else if (e.key === '/') $('filter').focus();
	else return;
	e.preventDefault();
});

// The views in place of the feed.
const tabs = [...document.querySelectorAll('[role=tab]')];
function show(tab) {
	for (const other of tabs) {
		other.setAttribute('aria-selected', String(other === tab));
		other.tabIndex = other === tab ? 0 : -1;
		$(other.getAttribute('aria-controls')).hidden = other !== tab;
	}
	connections.see(tab.id === 'tab-connections');
	if (tab.id === 'tab-connect') choosing();
}
for (const [i, tab] of tabs.entries()) {
	tab.addEventListener('click', () => show(tab));
	tab.addEventListener('keydown', (e) => {
		const to = { ArrowLeft: i + tabs.length - 1, ArrowRight: i + 1 }[e.key];
		if (to === undefined) return;
		tabs[to % tabs.length].focus();
		show(tabs[to % tabs.length]);
	});
}

// What changes too often to be drawn as it comes is drawn four times a second.
setInterval(() => {
	write($('last-id'), stream.lastEventId || '–');
	write($('topics-seen'), topics.size ? plural(topics.size, 'topic') : 'no topics yet');
	tellState(false);
	drawPlots();
	tellFeed();
}, 250);

const themes = ['system', 'light', 'dark'];
$('theme').textContent = `theme: ${root.dataset.theme ?? 'system'}`;
$('theme').addEventListener('click', () => {
	const next = themes[(themes.indexOf(root.dataset.theme ?? 'system') + 1) % 3];
	if (next === 'system') delete root.dataset.theme;
	else root.dataset.theme = next;
	$('theme').textContent = `theme: ${next}`;
	stored('localStorage', 'freshet.theme', next);
});

const wide = matchMedia('(min-width: 900px)');
const unfold = () => {
	$('publish').open = wide.matches;
	$('publish').firstElementChild.tabIndex = wide.matches ? -1 : 0; // nothing to fold there
};
wide.addEventListener('change', unfold);
unfold();
publishing();
watch(() => {
	if (stream.state !== 'closed') return;
	withToken = token() !== '';
	open();
});
open();
tellState(false);
