// The page's few words for elements. Text only: a payload never becomes markup.

/** $ finds an element by its id. */
export const $ = (id) => document.getElementById(id);

/** element makes one. */
export function element(name, className, text = '') {
	const made = document.createElement(name);
	made.className = className;
	made.textContent = text;
	return made;
}

/** write sets an element's text where it differs. */
export function write(at, text) {
	if (at.textContent !== text) at.textContent = text;
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
