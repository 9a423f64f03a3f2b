// Wires the page. One stream of the client module brings everything that it shows.

import { connect } from '../freshet/stream.js';
import { wireToken } from './access.js';
import { $, copy, copyByButton, element, hide, stored, write } from './dom.js';
import { Feed } from './feed.js';
import { drawPlots, showStats } from './figures.js';
import { problemOf } from './filter.js';
import { curl, group, plural } from './format.js';
import { wirePublishing } from './publish.js';
import { replay } from './replay.js';
import { gapSentence } from './row.js';
import { snippets } from './snippets.js';
import { Status } from './status.js';
import { onTokenChange, token } from './token.js';
import { Topics } from './topics.js';
import { wireKeys, wireViews } from './views.js';

const root = document.documentElement;
const catchUpTime = 400; // ms in which a stream that opened sends older events
const young = 2000; // ms: not one of those, if the clocks agree

let stream, statsStream = null, opened = Infinity, stats = null;
let withToken = false; // the page reads without the token where it can
let isLimited = false; // it may not read all topics
let missed = 0; // events that the last reconnection caught up

// Opens the stream. If the server refuses all topics, the page asks for those that it may read: a stream without topics. The figures
// then need another stream.
function open() {
	stream?.close();
	statsStream?.close();
	const credential = withToken && { token: token() };
	const own = stream = connect({ topics: isLimited ? [] : ['>', 'counter', 'stats'], since: stream?.lastEventId || '-50', ...credential });
	statsStream = isLimited ? connect({ topics: ['stats'], share: false, ...credential }) : null;
	(statsStream ?? stream).on('stats', (e) => {
		stats = e.json();
		showStats(stats, statsStream ? 2 : 1);
	});
	stream.on('counter', (e) => writeCount(e.data));
	stream.on('>', ({ id, topic, type, time, data }) => {
		const isLive = performance.now() - opened > catchUpTime || Date.now() - time < young;
		topics.count({ topic, type, time }, isLive);
		feed.add({ id, topic, type, time, data });
	});
	stream.on('open', () => { opened = performance.now(); });
	stream.on('gap', (e) => {
		const sentence = gapSentence(e.json());
		feed.add({ note: sentence, time: new Date() });
		status.addGap(sentence);
	});
	stream.on('drain', () => feed.add({ note: 'The server is closing this stream.', time: new Date() }));
	stream.on('state', (change) => {
		if (stream !== own) return;
		if (change.state === 'closed' && [401, 403].includes(change.status)) {
			if (!withToken && token()) withToken = true;
			else if (!isLimited) isLimited = true;
			else return status.show(stream, feed);
			return open();
		}
		if (change.state === 'resumed') missed = change.events;
		if (change.state === 'live' && missed) {
			feed.add({ note: `Resumed, ${plural(missed, 'missed event')} received.`, time: new Date() });
			missed = 0;
		}
		status.show(stream, feed);
	});
}

// The element's text is the plain count. The style sheet puts space between the thousands.
function writeCount(data) {
	$('cnt').replaceChildren(...data.split(/\B(?=(?:\d{3})+$)/).map((digits) => element('span', '', digits)));
}

const actions = {
	curl: async (event, button) => (button ? copyByButton(button, curl(event)) : showNote(`${await copy(curl(event))} as curl`)),
	replay: (id) => replay(feed, id, stream.lastEventId, { isLimited, ...(withToken && { token: token() }) }, showFeedState),
};
const feed = new Feed($('rows'), $('row'), showFeedState, actions);
const status = new Status((words) => (words === 'retry now' ? stream.reconnect() : feed.resume()));
const topics = new Topics(choosePattern);
const showSnippets = snippets((matches) => topics.typesOf(matches));

let note = '', noteUntil = 0;

// Shows a note for three seconds.
function showNote(words) {
	[note, noteUntil] = [words, performance.now() + 3000];
	status.say(words);
	showFeedState();
}

function showFeedState() {
	const problem = problemOf($('pattern').value.trim());
	let text = feed.filtered ? `${group(feed.matching)} of ${group(feed.size)} match` : '';
	if (feed.replaying) text = [replay.words, text].filter(Boolean).join(', ');
	if (performance.now() < noteUntil) text = note;
	write($('feed-note'), text);
	write($('problem'), problem);
	if ($('problem').hidden !== !problem) $('pattern').setAttribute('aria-invalid', String(problem !== ''));
	hide($('problem'), !problem);
	hide($('more'), !feed.replaying || !replay.next);
	write($('pause'), feed.replaying ? 'back to live' : feed.paused ? 'resume' : 'pause');
	hide($('only'), !feed.filtered && !problem);
	hide($('feed-empty'), !feed.blank);
	const isRefused = stream.state === 'closed';
	hide($('paste'), !feed.empty || isRefused);
	hide($('read-form'), !isRefused);
	write($('feed-empty-text'), describeEmptyFeed(isRefused));
	hide($('topics-empty'), topics.size > 0);
	write($('topics-empty'), isRefused ? 'This page may not read topics.' : 'A topic appears with its first event.');
	status.show(stream, feed);
}

function describeEmptyFeed(isRefused) {
	if (isRefused && stream.detail.status === 403) return 'This token does not allow reading events. Enter another one to see them.';
	if (isRefused && token()) return 'The server refuses the token that this page has. Enter another one.';
	if (isRefused) return 'Enter a token to see events. Or add #token= and the token to the address of this page: browsers do not send that part.';
	if (stream.state === 'connecting') return 'Waiting for the server.';
	const line = `To send one from a terminal${token() ? '' : ', with the publish token for TOKEN'}:`;
	if (feed.empty) return `${isLimited ? 'No event yet of the topics that this page may read.' : 'Nothing published yet.'} ${line}`;
	return feed.replaying ? 'No event of this replay matches.' : 'No event here matches. New events that match will appear.';
}

function choosePattern(pattern) {
	if ($('pattern').value.trim() !== pattern) $('pattern').value = pattern;
	topics.choose(pattern);
	showSnippets(pattern);
	feed.filter({ pattern });
}

function clearFilter() {
	$('filter').value = '';
	choosePattern('');
	feed.filter({ text: '' });
}

const togglePause = () => (feed.paused ? feed.resume() : feed.pause());
$('pause').addEventListener('click', togglePause);
$('more').addEventListener('click', () => actions.replay(replay.next));
$('pattern').addEventListener('input', () => choosePattern($('pattern').value.trim()));
$('filter').addEventListener('input', () => feed.filter({ text: $('filter').value }));
$('only').addEventListener('click', () => {
	clearFilter();
	$('filter').focus();
});

// Most visitors never open the connections.
let connections = null; // a promise, once the view has been opened
const show = wireViews(async (view) => {
	if (view === 'connect') showSnippets();
	if (view === 'connections') connections ??= import('./connections.js').then((module) => new module.Connections(() => ({ ids: [stream, statsStream].map((s) => s?.id).filter(Boolean), stats })));
	(await connections)?.setVisible(!$('connections').hidden);
});
wireKeys({
	p: togglePause,
	'/': () => {
		show('feed');
		$('filter').focus();
	},
	Escape: () => { if (feed.paused) feed.resume(); },
	'Esc in a field': clearFilter,
});

// These values change too often to draw each of them.
setInterval(() => {
	write($('last-id'), stream.lastEventId || '–');
	const count = stats?.topics ?? topics.size;
	write($('topic-count'), count ? plural(count, 'topic') : '');
	write($('topics-note'), stream.state === 'closed' ? '' : isLimited ? 'that this page may read' : count > topics.size ? `${group(topics.size)} of ${group(count)}, with events since the page opened` : '');
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
wireToken();
wirePublishing();
onTokenChange(() => {
	if (!withToken && !isLimited && stream.state !== 'closed') return; // the page reads everything without a token
	withToken = token() !== '';
	isLimited = false;
	open();
});
open();
showFeedState();
