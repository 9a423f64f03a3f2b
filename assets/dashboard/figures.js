// The server's figures from the stats events, and their last five minutes.

import { $, write, writeFigure } from './dom.js';
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
let marked = 0, drawnAt = 0;

for (const c of columns) {
	const format = (n) => c.format(n).join(' ').replace(/ (?=\/)/, '').trim();
	c.plot = new Plot($(c.id).querySelector('.plot'), c.id, c.keys, format, markAll);
	c.values = $(c.id).querySelectorAll('.value');
}

// The Tab key reaches one plot. The arrow keys up and down go to the others.
const plots = columns.map(({ id }) => $(id).querySelector('.plot'));
plots[0].tabIndex = 0;
for (const [i, plot] of plots.entries()) {
	plot.addEventListener('keydown', (e) => {
		const to = plots.at((i + ({ ArrowUp: -1, ArrowDown: 1 }[e.key] ?? 0)) % plots.length);
		if (to === plot) return;
		e.preventDefault();
		[plot.tabIndex, to.tabIndex] = [-1, 0];
		to.focus();
	});
}

// Marks one time on all plots.
function markAll(time) {
	marked = time;
	for (const { plot } of columns) plot.mark(time);
}

/** showStats writes the figures, of all nodes where there is more than one. A missing one is a dash. The page's own streams are no readers. */
export function showStats(stats, ownStreams) {
	const { nodes } = stats.cluster, isCluster = nodes > 1;
	const s = isCluster ? { ...stats, ...stats.cluster } : { ...stats };
	s.connections = Math.max(0, s.connections - ownStreams);
	const now = Date.now();
	const point = { time: now, node: isCluster ? 'all' : s.node_id };
	for (const { keys, values, format } of columns) {
		for (const [i, key] of keys.entries()) {
			const isKnown = Number.isFinite(s[key]);
			point[key] = isKnown ? s[key] : null;
			writeFigure(values[i], isKnown ? format(s[key]) : ['–', '']);
		}
	}
	points.push(point);
	while (points[0].time < now - past) points.shift();
	const writeTotal = (id, text) => write($(id).querySelector('.total'), text);
	writeTotal('readers', isCluster ? `on ${plural(nodes, 'node')}` : 'and you');
	writeTotal('in', `${short(s.published).join(' ').trim()} in all`);
	writeTotal('out', `${short(s.delivered).join(' ').trim()} in all`);
	writeTotal('log', plural(s.log_events, 'event'));
	$('latency').title = isCluster ? 'of the slowest node' : '';
	const node = `node ${stats.node} · up ${age(stats.uptime_s)} · memory ${bytes(stats.memory_bytes).join(' ')}`;
	write($('server'), isCluster ? `${plural(nodes, 'node')}, connected to ${node}` : node);
	drawPlots(now);
}

/** drawPlots moves the plots on, even while no figures arrive. */
export function drawPlots(now = Date.now()) {
	if (now - drawnAt < 1900 || document.hidden) return;
	drawnAt = now;
	for (const { plot } of columns) {
		plot.draw(points, now);
		if (marked) plot.mark(marked);
	}
}
