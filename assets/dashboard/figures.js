// The server's figures, as the stats events tell them, and their last five minutes.

import { $, element, figure, write } from './dom.js';
import { age, bytes, group, plural, rate, short, span } from './format.js';
import { past, Plot } from './plot.js';

const whole = (n) => (n < 1e6 ? [group(n), ''] : short(n));
const columns = [
	{ id: 'readers', keys: ['connections'], format: whole },
	{ id: 'in', keys: ['published_per_s'], format: rate },
	{ id: 'out', keys: ['delivered_per_s'], format: rate },
	{ id: 'latency', keys: ['latency_p50_ms', 'latency_p99_ms'], format: span },
	{ id: 'log', keys: ['log_bytes'], format: bytes },
];
const points = [];
let marked = 0, drawn = 0;

for (const c of columns) {
	const words = (n) => c.format(n).join(' ').replace(/ (?=\/)/, '').trim();
	c.plot = new Plot($(c.id).querySelector('.plot'), c.id, c.keys, words, mark);
	c.values = $(c.id).querySelectorAll('.value');
}

// One time on all plots.
function mark(time) {
	marked = time;
	for (const { plot } of columns) plot.mark(time);
}

/** showStats writes the figures; one that is missing or null shows as a dash. */
export function showStats(s) {
	const now = Date.now();
	const point = { time: now, node: s.node };
	for (const { keys, values, format } of columns) {
		for (const [i, key] of keys.entries()) {
			const known = Number.isFinite(s[key]);
			point[key] = known ? s[key] : null;
			figure(values[i], known ? format(s[key]) : ['–', '']);
		}
	}
	points.push(point);
	while (points[0].time < now - past) points.shift();
	const total = (id, text) => write($(id).querySelector('.total'), text);
	total('readers', s.parked ? `${group(s.parked)} parked` : `node ${s.node}`);
	total('in', `${short(s.published).join(' ').trim()} in all`);
	total('out', `${short(s.delivered).join(' ').trim()} in all`);
	total('log', plural(s.log_events, 'event'));
	write($('server'), `node ${s.node} · up ${age(s.uptime_s)} · memory ${bytes(s.memory_bytes).join(' ')}`);
	drawPlots(now);
}

/** drawPlots lets the plots go on also while nothing is heard. */
export function drawPlots(now = Date.now()) {
	if (now - drawn < 1900 || document.hidden) return;
	drawn = now;
	for (const { plot } of columns) {
		plot.draw(points, now);
		if (marked) plot.mark(marked);
	}
}
