// A plot of the last five minutes: a thin line over a faint fill. Missing samples interrupt the line.

import { element } from './dom.js';

/** The time that a plot shows, in ms. */
export const past = 300_000;
const height = 40; // in the drawing's units; one second is one unit wide
const maxGap = 7000; // ms between two samples that belong to one line

/** Plot draws into the box. keys are its lines, format writes a value, and onMark gets the time that the user points at. */
export class Plot {
	#keys;
	#format;
	#lines;
	#fill;
	#mark;
	#top = element('span', 'top');
	#ends = element('p', 'ends', element('span', '', '−5 min'), element('span', '', 'now'));
	#readout = element('span', 'readout');
	#box;
	#points = [];
	#now = 0;
	#max = 1;

	constructor(box, name, keys, format, onMark) {
		[this.#box, this.#keys, this.#format] = [box, keys, format];
		const svg = draw('svg', { viewBox: `0 0 ${past / 1000} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
		this.#fill = draw('path', { class: 'fill' });
		this.#lines = keys.map((_, i) => draw('path', { class: `line${i}` }));
		this.#mark = draw('path', { class: 'mark' });
		svg.append(this.#fill, ...this.#lines, this.#mark);
		this.#ends.insertBefore(this.#readout, this.#ends.lastChild);
		box.append(svg, this.#top, element('span', 'zero', '0'), this.#ends);

		// As a slider the plot's values are reached by keys, and screen readers speak them.
		const attributes = { role: 'slider', tabindex: -1, 'aria-label': `${name}, last five minutes`, 'aria-valuemin': -300, 'aria-valuemax': 0, 'aria-valuenow': 0 };
		for (const [key, value] of Object.entries(attributes)) box.setAttribute(key, value);
		const markAt = (e) => {
			const { left, width } = svg.getBoundingClientRect();
			onMark(this.#now - past * Math.max(0, 1 - (e.clientX - left) / width));
		};
		svg.addEventListener('pointermove', markAt);
		svg.addEventListener('pointerdown', markAt);
		svg.addEventListener('pointerleave', () => onMark(0));
		box.addEventListener('blur', () => onMark(0));
		box.addEventListener('keydown', (e) => {
			const by = { ArrowLeft: -2000, ArrowRight: 2000, PageUp: 20_000, PageDown: -20_000, Home: -past, End: past }[e.key];
			if (!by) return;
			e.preventDefault();
			const from = this.#now + 1000 * Number(box.getAttribute('aria-valuenow'));
			onMark(Math.min(this.#now, Math.max(this.#now - past, from + by)));
		});
	}

	/** draw gets the samples, oldest first, each with its time, and the time of the right edge. */
	draw(points, now) {
		[this.#points, this.#now] = [points, now];
		const values = points.flatMap((p) => this.#keys.map((key) => p[key] ?? 0));
		this.#max = nice(Math.max(...values, 0));
		for (const [i, key] of this.#keys.entries()) {
			let line = '', fill = '', last = null;
			for (const p of points) {
				if (p[key] == null) continue;
				const x = this.#x(p), y = this.#y(p[key]);
				const joined = last && p.time - last.time < maxGap && p.node === last.node;
				if (!joined && last) fill += `V${height}Z`;
				line += `${joined ? 'L' : 'M'}${x} ${y}`;
				fill += joined ? `L${x} ${y}` : `M${x} ${height}V${y}`;
				last = p;
			}
			this.#lines[i].setAttribute('d', line);
			if (i === 0) this.#fill.setAttribute('d', last ? `${fill}V${height}Z` : '');
		}
		this.#top.textContent = values.some(Boolean) ? this.#format(this.#max).replace(/\.0+(?=\D)/, '') : '';
	}

	/** mark puts the crosshair on the sample nearest to the time. 0 removes it. */
	mark(time) {
		const nearest = time && this.#points.reduce((best, p) => (Math.abs(p.time - time) < Math.abs(best.time - time) ? p : best), this.#points[0] ?? { time: 0 });
		const isNear = nearest && Math.abs(nearest.time - time) < maxGap;
		const values = isNear ? this.#keys.map((key) => nearest[key]) : [];
		const x = this.#x(isNear ? nearest : { time });
		this.#mark.setAttribute('d', time ? `M${x} 0V${height}${values.map((v) => (v == null ? '' : `M${x} ${this.#y(v)}h0`)).join('')}` : '');
		const readout = values.map((v) => (v == null ? '–' : this.#format(v))).join(' · ') || 'no figures';
		const text = time ? `${new Date(isNear ? nearest.time : time).toLocaleTimeString('en-GB')} ${readout}` : '';
		this.#readout.textContent = text;
		this.#ends.classList.toggle('has-readout', text !== '');
		this.#box.setAttribute('aria-valuenow', time ? Math.round((time - this.#now) / 1000) : 0);
		this.#box.setAttribute('aria-valuetext', text || 'now');
	}

	#x({ time }) { return ((time - this.#now + past) / 1000).toFixed(1); }
	#y(value) { return (height - 1 - (height - 2) * value / this.#max).toFixed(2); }
}

function draw(name, attributes) {
	const made = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
	return made;
}

// The next of 1, 2, 5, 10, …, so that the scale seldom changes.
function nice(n) {
	if (n <= 0) return 1;
	const power = 10 ** Math.floor(Math.log10(n));
	return power * ([1, 2, 5].find((step) => step * power >= n) ?? 10);
}
