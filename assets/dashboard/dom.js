// The page's few words for elements. Text only: a payload never becomes markup.

/** $ finds an element by its id. */
export const $ = (id) => document.getElementById(id);

/** element makes one. */
export function element(name, className = '', ...content) {
	const made = document.createElement(name);
	if (className) made.className = className;
	made.append(...content);
	return made;
}

/** button makes one that looks like a word. */
export function button(words, onClick) {
	const made = element('button', 'quiet', words);
	made.addEventListener('click', () => onClick(made));
	return made;
}

/** write sets an element's text where it differs. */
export function write(at, text) {
	if (at.textContent !== text) at.textContent = text;
}

/** figure writes digits and their unit. */
export function figure(at, [digits, unit]) {
	if (at.dataset.text === digits + unit) return;
	at.dataset.text = digits + unit;
	at.replaceChildren(digits, ' ', element('small', '', unit));
}

/** copy puts the text on the clipboard and returns how that went, in words. */
export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		return 'copied';
	} catch {
		// Only https and localhost have the clipboard; this is older, and everywhere.
		const from = document.activeElement, area = element('textarea', 'unseen', text);
		document.body.append(area);
		area.select();
		const copied = document.execCommand('copy');
		area.remove();
		from?.focus();
		return copied ? 'copied' : 'not allowed here';
	}
}

/** copyBy is copy for a button, which tells how it went. */
export async function copyBy(at, text) {
	const words = at.dataset.words ??= at.textContent;
	at.textContent = await copy(text);
	setTimeout(() => { at.textContent = words; }, 2000);
}

/** stored reads or, given a value, writes a key of a storage, which the browser may have turned off. */
export function stored(storage, key, value) {
	try {
		if (value === undefined) return window[storage].getItem(key);
		window[storage].setItem(key, value);
	} catch {
		// Off: what was to be kept lasts as long as the page.
	}
	return null;
}
