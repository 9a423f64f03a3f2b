// Wires the page. One stream of the client module brings everything that it shows.

import { connect } from '../freshet.js';
import { $, copy, copyByButton, element, stored, write } from './dom.js';
import { Feed } from './feed.js';
import { drawPlots, showStats } from './figures.js';
import { curl, group, plural } from './format.js';
import { wirePublishing } from './publish.js';
import { replay } from './replay.js';
import { gapSentence } from './row.js';
import { snippets } from './snippets.js';
import { onTokenChange, token } from './token.js';
import { Topics } from './topics.js';

const root = document.documentElement;
const catchUpTime = 400; // ms in which a stream that opened sends older events

let stream, opened = Infinity, withToken = false;
let missed = 0; // events that the last reconnection caught up

function open() {
	stream = connect({ topics: ['>', 'counter', 'stats'], since: stream?.lastEventId || '-50', ...(withToken && { token: token() }) });
	stream.on('counter', (e) => writeCount(e.data));
	stream.on('stats', (e) => showStats(e.json()));
	stream.on('>', ({ id, topic, type, time, data }) => {
		const isLive = performance.now() - opened > catchUpTime;
		topics.count({ topic, type, time }, isLive);
		feed.add({ id, topic, type, time, data });
	});
	stream.on('open', () => { opened = performance.now(); });
	stream.on('gap', (e) => feed.add({ note: gapSentence(e.json()), time: new Date() }));
	stream.on('drain', () => feed.add({ note: 'The server is closing this stream.', time: new Date() }));
	stream.on('state', (change) => {
		// The page reads without the token where it can.
		if (change.state === 'closed' && [401, 403].includes(change.status) && !withToken && token()) {
			withToken = true;
			return open();
		}
		if (change.state === 'resumed') missed = change.events;
		if (change.state === 'live' && missed) {
			feed.add({ note: `Resumed, ${plural(missed, 'event')} caught up.`, time: new Date() });
			missed = 0;
		}
		showState(true);
	});
}

// Returns the state in plain words, and the kind of state that the style sheet shows.
function describeState() {
	const { state, detail } = stream, wait = Math.ceil((detail.until - Date.now()) / 1000);
	switch (state) {
	case 'connecting': return ['connecting…', 'connecting'];
	case 'reconnecting': return [(detail.busy ? `server busy (${detail.busy.replaceAll('_', ' ')}), ` : '') + (wait > 0 ? `reconnecting in ${wait} s` : 'reconnecting…'), 'waiting'];
	case 'resumed': return [detail.events ? `resumed, ${plural(detail.events, 'event')} caught up` : 'resumed, nothing missed', 'live'];
	case 'gap': return [`gap: ${gapSentence(detail.gap).split(':')[0]}`, 'waiting'];
	case 'auth-expired': return ['the right to read has ended', 'refused'];
	case 'closed': return [`not allowed to read: ${detail.reason}`, 'refused'];
	}
	return ['live', 'live'];
}

function showState(changed) {
	const [text, kind] = describeState();
	write($('state'), text);
	$('state').dataset.state = root.dataset.state = kind;
	// A screen reader speaks this: once for each state, not once a second.
	if (changed) write($('announcer'), stream.state === 'reconnecting' ? text.replace(/…| in \d+ s$/, '') : text);
}

// The element's text is the plain count. The style sheet puts space between the thousands.
function writeCount(data) {
	$('cnt').replaceChildren(...data.split(/\B(?=(?:\d{3})+$)/).map((digits) => element('span', '', digits)));
}

const actions = {
	curl: async (event, button) => (button ? copyByButton(button, curl(event)) : showNote(`${await copy(curl(event))} as curl`)),
	replay: (id) => replay(feed, id, stream.lastEventId, withToken ? token() : '', showFeedState),
};
const feed = new Feed($('rows'), $('row'), showFeedState, actions);
const topics = new Topics(choosePattern);
const showSnippets = snippets((matches) => topics.typesOf(matches));

let note = '', noteUntil = 0;

// Shows a note for three seconds.
function showNote(words) {
	[note, noteUntil] = [words, performance.now() + 3000];
	write($('announcer'), words);
	showFeedState();
}

function showFeedState() {
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

function choosePattern(pattern) {
	$('pattern').value = pattern;
	topics.choose(pattern);
	showSnippets(pattern);
	feed.filter({ pattern });
}

const togglePause = () => (feed.paused ? feed.resume() : feed.pause());
$('pause').addEventListener('click', togglePause);
$('more').addEventListener('click', () => actions.replay(replay.next));
$('pattern').addEventListener('input', () => choosePattern($('pattern').value.trim()));
$('filter').addEventListener('input', () => feed.filter({ text: $('filter').value }));
$('only').addEventListener('click', () => {
	$('filter').value = '';
	choosePattern('');
	feed.filter({ text: '' });
	$('filter').focus();
});
$('feed').addEventListener('keydown', (e) => {
	const isTyping = e.target.matches('input');
	if (e.key === 'Escape' && isTyping) $('only').click();
	else if (e.key === 'Escape' && feed.paused) feed.resume();
	else if (isTyping || e.ctrlKey || e.metaKey || e.altKey) return;
	else if (e.key === 'p') togglePause();
	else if (e.key === '/') $('filter').focus();
	else return;
	e.preventDefault();
});

// The feed, and the views that replace it. Most visitors never open the connections.
let connections = null; // a promise, once the view has been opened
const tabs = [...document.querySelectorAll('[role=tab]')];
async function show(tab) {
	for (const other of tabs) {
		other.setAttribute('aria-selected', String(other === tab));
		other.tabIndex = other === tab ? 0 : -1;
		$(other.getAttribute('aria-controls')).hidden = other !== tab;
	}
	if (tab.id === 'tab-connect') showSnippets();
	if (tab.id === 'tab-connections') connections ??= import('./connections.js').then((module) => new module.Connections());
	(await connections)?.setVisible(!$('connections').hidden);
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

// These values change too often to draw each of them.
setInterval(() => {
	write($('last-id'), stream.lastEventId || '–');
	write($('topics-seen'), topics.size ? plural(topics.size, 'topic') : 'no topics yet');
	showState(false);
	drawPlots();
	showFeedState();
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
const foldPublish = () => {
	$('publish').open = wide.matches;
	$('publish').firstElementChild.tabIndex = wide.matches ? -1 : 0; // a wide page does not fold it
};
wide.addEventListener('change', foldPublish);
foldPublish();
wirePublishing();
onTokenChange(() => {
	if (stream.state !== 'closed') return;
	withToken = token() !== '';
	open();
});
open();
showState(false);
