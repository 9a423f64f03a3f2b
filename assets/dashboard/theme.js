// Applies the chosen theme before the first paint: a classic script, so that it runs
// before the body is there. Without a choice the style sheet follows the system.
(() => {
	let chosen = null;
	try {
		chosen = localStorage.getItem('freshet.theme');
	} catch {
		// Storage is off: the system's theme stays.
	}
	if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
