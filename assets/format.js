// How numbers, times and payloads are written on the page.

const thin = '\u202f'; // a narrow space that does not break

/** group writes an integer with thin spaces in its thousands. */
export function group(n) {
	return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, thin);
}

/** short returns [digits, prefix]: up to whole as it is, then three digits with k, M, G or T. */
export function short(n, whole = 9999) {
	if (n < whole + 0.5) return [n >= 9.95 || Number.isInteger(n) ? group(n) : n.toFixed(1), ''];
	let i = -1;
	for (; n >= 999.5 && i < 3; i++) n /= 1000;
	return [n < 9.995 ? n.toFixed(2) : n < 99.95 ? n.toFixed(1) : group(n), 'kMGT'[i]];
}

/** bytes is short with the unit B. */
export function bytes(n) {
	const [digits, prefix] = short(n, 999);
	return [digits, `${prefix}B`];
}

/** span returns [digits, unit] of a time given in milliseconds. */
export function span(ms) {
	if (ms < 0.9995) return [group(ms * 1000), 'µs'];
	if (ms < 9.95) return [ms.toFixed(1), 'ms'];
	return ms < 9999.5 ? [group(ms), 'ms'] : [group(ms / 1000), 's'];
}

/** age writes seconds as the two largest units. */
export function age(s) {
	const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
	if (d) return `${d} d ${h} h`;
	if (h) return `${h} h ${m} min`;
	return m ? `${m} min` : `${Math.floor(s)} s`;
}

/** plural writes "1 event", "12 events". */
export function plural(n, noun) {
	return `${group(n)} ${noun}${n === 1 ? '' : 's'}`;
}

const two = (n) => String(n).padStart(2, '0');

/** clock writes a local time to the millisecond, or date and time where it is not today's. */
export function clock(at, today = new Date()) {
	if (Number.isNaN(at.getTime())) return '–';
	const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
	if (at.toDateString() === today.toDateString()) return `${time}.${String(at.getMilliseconds()).padStart(3, '0')}`;
	return `${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/**
 * pretty indents text that is a JSON object or array and returns any other text as it is.
 * It moves white space only: numbers too long for JavaScript and repeated keys survive.
 */
export function pretty(text) {
	if (text.length > 1 << 18 || !/^\s*[[{]/.test(text)) return text;
	try {
		JSON.parse(text);
	} catch {
		return text;
	}
	let out = '', depth = 0, opened = false;
	const line = () => '\n' + '  '.repeat(Math.min(depth, 20));
	for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g)) {
		if (token === '}' || token === ']') {
			depth--;
			out += opened ? token : line() + token;
			opened = false;
			continue;
		}
		if (opened) out += line();
		opened = token === '{' || token === '[';
		if (opened) depth++;
		out += token;
		if (token === ',') out += line();
		if (token === ':') out += ' ';
	}
	return out;
}
