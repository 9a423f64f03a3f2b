// Topics and patterns: * stands for one segment, > at the end for one or more.

/** matches reports whether the pattern matches the topic. No pattern matches counter and stats. */
export function matches(pattern, topic) {
	if (pattern === topic) return true;
	if (topic === 'counter' || topic === 'stats') return false;
	const wanted = pattern.split('.'), segments = topic.split('.');
	const open = wanted.at(-1) === '>' && wanted.length <= segments.length;
	return (open || wanted.length === segments.length) &&
		wanted.every((segment, i) => segment === '*' || segment === segments[i] || open && i === wanted.length - 1);
}

/**
 * union returns the topics of all lists, sorted. An empty list means the counter and all topics that the reader may read.
 * Next to other topics these are named: a server that refuses them to this tab might give the others less than they may read.
 */
export function union(lists) {
	if (!lists.flat().length) return [];
	const all = new Set(lists.flatMap((list) => (list.length ? list : ['>', 'counter'])));
	if (all.has('>')) {
		for (const topic of all) if (!['>', 'counter', 'stats'].includes(topic)) all.delete(topic);
	}
	return [...all].sort();
}
