// Applies the chosen theme. A classic script runs before the first paint. Without a choice the style sheet follows the system.
(() => {
	let chosen = null;
	try {
		chosen = localStorage.getItem('freshet.theme');
	} catch {
		// The browser has turned storage off.
	}
	if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
