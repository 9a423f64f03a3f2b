// A plot of the last five minutes: a thin line over a faint fill, drawn as vectors, so that
// it is crisp at any size and density. Where samples are missing the line is interrupted.

import { element } from './dom.js';

/** How long a plot looks back, in ms. */
export const past = 300_000;
const high = 40; // of the drawing, in its own units; a second is one wide
const longest = 7000; // ms between two samples that belong together

/** Plot draws into the box. keys are its lines, words writes a value, onMark gets the time pointed at. */
export class Plot {
	#keys;
	#words;
	#lines;
	#fill;
	#mark;
	#top = element('span', 'top');
	#ends = element('p', 'ends', element('span', '', '−5 min'), element('span', '', 'now'));
	#told = element('span', 'told');
	#box;
	#points = [];
	#now = 0;
	#most = 1;

	constructor(box, name, keys, words, onMark) {
		[this.#box, this.#keys, this.#words] = [box, keys, words];
		const svg = draw('svg', { viewBox: `0 0 ${past / 1000} ${high}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
		this.#fill = draw('path', { class: 'fill' });
		this.#lines = keys.map((_, i) => draw('path', { class: `line${i}` }));
		this.#mark = draw('path', { class: 'mark' });
		svg.append(this.#fill, ...this.#lines, this.#mark);
		this.#ends.insertBefore(this.#told, this.#ends.lastChild);
		box.append(svg, this.#top, element('span', 'zero', '0'), this.#ends);

		// A slider, as that is what walks through values by keys and speaks them.
		const attributes = { role: 'slider', tabindex: 0, 'aria-label': `${name}, last five minutes`, 'aria-valuemin': -300, 'aria-valuemax': 0, 'aria-valuenow': 0 };
		for (const [key, value] of Object.entries(attributes)) box.setAttribute(key, value);
		const at = (e) => {
			const { left, width } = svg.getBoundingClientRect();
			onMark(this.#now - past * Math.max(0, 1 - (e.clientX - left) / width));
		};
		svg.addEventListener('pointermove', at);
		svg.addEventListener('pointerdown', at);
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

	/** draw takes the samples, oldest first, each with its time, and the time of the right end. */
	draw(points, now) {
		[this.#points, this.#now] = [points, now];
		const values = points.flatMap((p) => this.#keys.map((key) => p[key] ?? 0));
		this.#most = nice(Math.max(...values, 0));
		for (const [i, key] of this.#keys.entries()) {
			let line = '', fill = '', before = null;
			for (const p of points) {
				if (p[key] == null) continue;
				const x = this.#x(p), y = this.#y(p[key]);
				const joined = before && p.time - before.time < longest && p.node === before.node;
				if (!joined && before) fill += `V${high}Z`;
				line += `${joined ? 'L' : 'M'}${x} ${y}`;
				fill += joined ? `L${x} ${y}` : `M${x} ${high}V${y}`;
				before = p;
			}
			this.#lines[i].setAttribute('d', line);
			if (i === 0) this.#fill.setAttribute('d', before ? `${fill}V${high}Z` : '');
		}
		this.#top.textContent = values.some(Boolean) ? this.#words(this.#most).replace(/\.0+(?=\D)/, '') : '';
	}

	/** mark puts the crosshair on the sample nearest to the time; 0 takes it away. */
	mark(time) {
		const near = time && this.#points.reduce((best, p) => (Math.abs(p.time - time) < Math.abs(best.time - time) ? p : best), this.#points[0] ?? { time: 0 });
		const there = near && Math.abs(near.time - time) < longest;
		const values = there ? this.#keys.map((key) => near[key]) : [];
		const x = this.#x(there ? near : { time });
		this.#mark.setAttribute('d', time ? `M${x} 0V${high}${values.map((v) => (v == null ? '' : `M${x} ${this.#y(v)}h0`)).join('')}` : '');
		const told = values.map((v) => (v == null ? '–' : this.#words(v))).join(' · ') || 'no figures';
		const text = time ? `${new Date(there ? near.time : time).toLocaleTimeString('en-GB')} ${told}` : '';
		this.#told.textContent = text;
		this.#ends.classList.toggle('telling', text !== '');
		this.#box.setAttribute('aria-valuenow', time ? Math.round((time - this.#now) / 1000) : 0);
		this.#box.setAttribute('aria-valuetext', text || 'now');
	}

	#x({ time }) { return ((time - this.#now + past) / 1000).toFixed(1); }
	#y(value) { return (high - 1 - (high - 2) * value / this.#most).toFixed(2); }
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
