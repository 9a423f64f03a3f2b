// How the page writes numbers, times and commands.

const thinSpace = '\u202f'; // does not break

/** group writes an integer with thin spaces between its thousands. */
export function group(n) {
	return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, thinSpace);
}

/** short returns [digits, prefix]: numbers above whole have three digits and k, M, G or T. */
export function short(n, whole = 9999) {
	if (n < whole + 0.5) return [n >= 9.95 || Number.isInteger(n) ? group(n) : n.toFixed(1), ''];
	let i = -1;
	for (; n >= 999.5 && i < 3; i++) n /= 1000;
	return [n < 9.995 ? n.toFixed(2) : n < 99.95 ? n.toFixed(1) : group(n), 'kMGT'[i]];
}

/** rate returns [digits, unit] of events per second. */
export function rate(n) {
	const [digits, prefix] = short(n);
	return [digits, `${prefix}/s`];
}

/** bytes returns [digits, unit]. */
export function bytes(n) {
	const [digits, prefix] = short(n, 999);
	return [digits, `${prefix}B`];
}

/** span returns [digits, unit] of milliseconds. */
export function span(ms) {
	if (ms < 0.9995) return [group(ms * 1000), 'µs'];
	if (ms < 9.95) return [ms.toFixed(1), 'ms'];
	return ms < 9999.5 ? [group(ms), 'ms'] : [group(ms / 1000), 's'];
}

/** age writes seconds in their largest units, two by default. */
export function age(s, most = 2) {
	const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
	const parts = [[d, 'd'], [h, 'h'], [m, 'min']].filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`);
	return parts.slice(0, most).join(' ') || `${Math.floor(s)} s`;
}

/** plural writes "1 event", "12 events". */
export function plural(n, noun) {
	return `${group(n)} ${noun}${n === 1 ? '' : 's'}`;
}

const twoDigits = (n) => String(n).padStart(2, '0');

/** clock writes a local time with milliseconds, or date and time if it is not today. */
export function clock(at, today = new Date()) {
	if (!at || Number.isNaN(at.getTime())) return '–';
	const time = `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}:${twoDigits(at.getSeconds())}`;
	if (at.toDateString() === today.toDateString()) return `${time}.${String(at.getMilliseconds()).padStart(3, '0')}`;
	return `${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())} ${time}`;
}

/** here returns a URL of this server. */
export const here = (path = '') => String(new URL(path, document.baseURI.replace(/[#?].*/, '')));

/** quote makes one word for a shell. */
export const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** curl returns the command that publishes an event. */
export function curl({ topic, type, data }, bearer) {
	const header = bearer ? quote(`Authorization: Bearer ${bearer}`) : '"Authorization: Bearer $TOKEN"';
	const query = type && type !== topic ? `?type=${encodeURIComponent(type)}` : '';
	return `curl -H ${header} --data-binary ${quote(data)} ${quote(here(`event/${encodeURIComponent(topic)}${query}`))}`;
}
