// Helpers for elements. They write text only, so that a payload never becomes markup.

/** $ finds an element by its id. */
export const $ = (id) => document.getElementById(id);

/** element makes an element. */
export function element(name, className = '', ...content) {
	const made = document.createElement(name);
	if (className) made.className = className;
	made.append(...content);
	return made;
}

/** button makes a button that looks like a link. */
export function button(words, onClick) {
	const made = element('button', 'quiet', words);
	made.addEventListener('click', () => onClick(made));
	return made;
}

/** write sets an element's text, if it differs. */
export function write(at, text) {
	if (at.textContent !== text) at.textContent = text;
}

/** hide hides an element or shows it, if it is not so already. */
export function hide(at, isHidden) {
	if (at.hidden !== isHidden) at.hidden = isHidden;
}

/** writeFigure writes digits and their unit. */
export function writeFigure(at, [digits, unit]) {
	if (at.dataset.text === digits + unit) return;
	at.dataset.text = digits + unit;
	at.replaceChildren(digits, ' ', element('small', '', unit));
}

/** copy puts the text on the clipboard and returns the result in words. */
export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		return 'copied';
	} catch {
		// Browsers offer the clipboard to https and localhost only. This older way works everywhere.
		const from = document.activeElement, area = element('textarea', 'unseen', text);
		document.body.append(area);
		area.select();
		const copied = document.execCommand('copy');
		area.remove();
		from?.focus();
		return copied ? 'copied' : 'not allowed here';
	}
}

/** copyByButton copies, and shows the result on the button. */
export async function copyByButton(at, text) {
	const words = at.dataset.words ??= at.textContent;
	at.textContent = await copy(text);
	setTimeout(() => { at.textContent = words; }, 2000);
}

/** stored reads a key of a storage, or writes it if there is a value. */
export function stored(storage, key, value) {
	try {
		if (value === undefined) return window[storage].getItem(key);
		window[storage].setItem(key, value);
	} catch {
		// The browser has turned the storage off: the value lasts as long as the page.
	}
	return null;
}
