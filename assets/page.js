// Wires the page: two streams in, one for the count and the figures, one for the feed.

import { count, writeStats } from './counter.js';
import { $, stored, write } from './dom.js';
import { Feed, gapSentence } from './feed.js';
import { group, plural } from './format.js';
import { publishing } from './publish.js';
import { Stream } from './stream.js';
import { watch } from './token.js';
import { Topics } from './topics.js';

const manyMissed = 2000; // events: more than that is not caught up with after the tab was hidden

// The state of the page is the worse of its two streams'.
const states = { count: 'connecting', feed: 'connecting' };
const words = { refused: 'not allowed to read', waiting: 'reconnecting…', connecting: 'connecting…', live: 'live' };

function setState(stream, state) {
	const again = state === 'connecting' && states[stream] === 'waiting';
	states[stream] = again ? 'waiting' : state;
	const now = ['refused', 'waiting', 'connecting'].find((s) => Object.values(states).includes(s)) ?? 'live';
	if ($('state').dataset.state === now) return;
	$('state').dataset.state = now;
	$('state').textContent = words[now];
	document.documentElement.dataset.state = now;
}

let lastID = '', published = 0, publishedAtHiding = 0;
count({
	onState: (state) => setState('count', state),
	onID: (id) => { if (!stream.lastID) lastID = id; },
	onStats: (stats) => {
		published = stats.published;
		writeStats(stats);
	},
});

const feed = new Feed($('rows'), $('row'), tellFeed);
const topics = new Topics(choose);
let nextAttempt = 0, refusal = '';
let resumed = 0, caughtUp = 0; // when the last event that was missed came; Infinity once that was told
let note = '', noteUntil = 0;

const stream = new Stream({
	onID: (id) => { lastID = id; },
	onState(state, detail) {
		setState('feed', state === 'closed' ? 'live' : state);
		nextAttempt = state === 'waiting' ? detail : 0;
		refusal = state === 'refused' ? detail : '';
		if (state === 'live' && resumed === 0 && stream.lastID) {
			[resumed, caughtUp] = [performance.now(), 0];
		} else if (state !== 'live') resumed = 0;
		if (state === 'live') noteUntil = 0; // of the stream before
		tellFeed();
	},
	onEvent(event) {
		if (event.type === 'gap') return feed.add({ note: gapSentence(event.data), time: new Date() });
		if (event.type === 'drain') return say('the server is closing this stream');
		if (event.type === 'auth-expired') return say('the right to read has ended');
		if (event.old && resumed) {
			caughtUp++;
			if (resumed !== Infinity) resumed = performance.now();
		}
		topics.seen(event);
		feed.add(event);
	},
});

function say(words) {
	[note, noteUntil] = [words, performance.now() + 8000];
	tellFeed();
}

function tellFeed() {
	const wait = Math.ceil((nextAttempt - Date.now()) / 1000);
	let text = performance.now() < noteUntil ? note : '';
	if (feed.paused) text = `paused, ${group(feed.waiting)} waiting`;
	if (nextAttempt) text = wait > 0 ? `reconnecting in ${wait} s` : 'reconnecting…';
	write($('feed-note'), refusal || text);
	$('feed-note').dataset.state = refusal ? 'refused' : nextAttempt || feed.paused ? 'waiting' : '';
	write($('pause'), feed.paused ? 'resume' : 'pause');

	$('only').hidden = !feed.topic && !feed.text;
	write($('only'), feed.topic ? `only ${feed.topic}: show all` : 'show all');
	$('feed-empty').hidden = !feed.blank;
	$('paste').hidden = !feed.empty;
	write($('feed-empty-text'), feed.empty
		? 'Nothing published yet. Send the first event from a terminal:'
		: 'No event here matches. New ones that do will appear.');
	$('topics-empty').hidden = topics.size > 0;
}

function choose(topic) {
	topics.choose(topic);
	feed.filter({ topic });
}

$('pause').addEventListener('click', () => (feed.paused ? feed.resume() : feed.pause()));
$('filter').addEventListener('input', () => feed.filter({ text: $('filter').value }));
$('only').addEventListener('click', () => {
	$('filter').value = '';
	topics.choose('');
	feed.filter({ topic: '', text: '' });
	$('filter').focus();
});

// What changes too often to be drawn as it comes is drawn four times a second.
setInterval(() => {
	if (resumed && performance.now() - resumed > 700) {
		resumed = Infinity;
		if (caughtUp) say(`resumed, ${plural(caughtUp, 'event')} caught up`);
	}
	write($('last-id'), lastID || '–');
	write($('topics-seen'), topics.size ? plural(topics.size, 'topic') : 'no topics yet');
	topics.draw();
	tellFeed();
}, 250);

// A browser opens six HTTP/1.1 connections to an origin in all tabs together: a tab that
// nobody sees gives one back.
function follow() {
	if (document.hidden) {
		publishedAtHiding = published;
		stream.close();
		return;
	}
	const missed = published - publishedAtHiding;
	if (stream.lastID && missed > manyMissed) {
		stream.lastID = '';
		say(`about ${group(missed)} events passed while this tab was hidden: these are the newest`);
		stream.open('-500');
	} else stream.open('-50');
}
document.addEventListener('visibilitychange', follow);
watch(() => { if (refusal) follow(); });
follow();

const root = document.documentElement;
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
