// The count, the server's figures and the EventSource that brings both.

import { $, element } from './dom.js';
import { age, bytes, group, short, span } from './format.js';

const silence = 10_000; // ms without a word, once stats have come every 2 s: the peer is gone

/** count opens the stream and writes the count; onState is told live or waiting. */
export function count({ onState, onStats, onID }) {
	let source, failures = 0, heard = 0, told = false;

	function open() {
		told = false;
		source = new EventSource('event?topic=counter&topic=stats');
		source.onopen = () => {
			failures = 0;
			onState('live');
		};
		source.onmessage = (e) => {
			heard = performance.now();
			writeCount(e.data);
			onID(e.lastEventId);
		};
		source.addEventListener('stats', (e) => {
			heard = performance.now();
			told = true;
			onStats(JSON.parse(e.data));
		});
		source.addEventListener('drain', () => onState('waiting'));
		source.onerror = () => {
			told = false;
			onState('waiting');
			// The browser comes back by itself unless the answer was no event stream.
			if (source.readyState === EventSource.CLOSED) {
				setTimeout(open, Math.min(30_000, 1000 * 2 ** failures++) * (0.5 + Math.random()));
			}
		};
	}

	open();
	setInterval(() => {
		if (!told || performance.now() - heard < silence) return;
		source.close();
		onState('waiting');
		open();
	}, 5000);
}

// The element's text stays the plain count; the space in the thousands is the style sheet's.
function writeCount(data) {
	$('cnt').replaceChildren(...data.split(/\B(?=(?:\d{3})+$)/).map((digits) => element('span', '', digits)));
}

/** writeStats writes the figures; one that is missing or null shows as a dash. */
export function writeStats(s) {
	const put = (name, value, format, suffix = '') => {
		const [digits, unit] = Number.isFinite(value) ? format(value) : ['–', ''];
		$(name).replaceChildren(digits, ' ', element('small', '', digits === '–' ? '' : unit + suffix));
	};
	const total = (name, value, noun) => {
		if (Number.isFinite(value)) $(name).textContent = `${short(value).join(' ').trim()} ${noun}`;
	};
	put('readers', s.connections, (n) => (n < 1e6 ? [group(n), ''] : short(n)));
	put('in', s.published_per_s, short, '/s');
	put('out', s.delivered_per_s, short, '/s');
	put('p50', s.latency_p50_ms, span);
	put('p99', s.latency_p99_ms, span);
	put('log', s.log_bytes, bytes);
	total('in-all', s.published, 'in all');
	total('out-all', s.delivered, 'in all');
	total('log-events', s.log_events, s.log_events === 1 ? 'event' : 'events');
	$('node').textContent = `node ${s.node}`;
	$('server').textContent = `up ${age(s.uptime_s)} · memory ${bytes(s.memory_bytes).join(' ')}`;
}
