// The feed, the views that replace it, and the keys that work anywhere.

import { $ } from './dom.js';

/** wireViews wires the tabs. onShow gets the ID of the view that is shown. It returns a function that shows a view. */
export function wireViews(onShow) {
	const tabs = [...document.querySelectorAll('[role=tab]')];
	const show = (tab) => {
		for (const other of tabs) {
			other.setAttribute('aria-selected', String(other === tab));
			other.tabIndex = other === tab ? 0 : -1;
			$(other.getAttribute('aria-controls')).hidden = other !== tab;
		}
		onShow(tab.getAttribute('aria-controls'));
	};
	for (const [i, tab] of tabs.entries()) {
		tab.addEventListener('click', () => show(tab));
		tab.addEventListener('keydown', (e) => {
			const to = { ArrowLeft: i + tabs.length - 1, ArrowRight: i + 1 }[e.key];
			if (to === undefined) return;
			tabs[to % tabs.length].focus();
			show(tabs[to % tabs.length]);
		});
	}
	return (view) => show($(`tab-${view}`));
}

/** wireKeys calls the function of a key that is pressed outside a field, and the one of "Esc in a field" inside the feed's. */
export function wireKeys(keys) {
	const help = $('help');
	help.lastElementChild.addEventListener('click', () => help.close());
	$('keys').addEventListener('click', () => help.showModal());
	document.addEventListener('keydown', (e) => {
		if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || help.open) return;
		const isField = e.target.matches?.('input, textarea, select, [contenteditable]');
		const name = isField ? e.key === 'Escape' && e.target.closest('.tools') && 'Esc in a field' : e.key;
		if (name === '?') help.showModal();
		else if (name && Object.hasOwn(keys, name)) keys[name]();
		else return;
		e.preventDefault();
	});
}
