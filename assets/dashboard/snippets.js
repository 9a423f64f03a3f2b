// Code that reads the chosen topics from this server, ready to paste.

import { $, button, copyByButton, element, write } from './dom.js';
import { here, quote } from './format.js';
import { matches } from '../freshet/pattern.js';

const js = (text) => quote(text.replaceAll('\\', '\\\\')).replaceAll("'\\''", "\\'");

const kinds = {
	EventSource: ({ url, types }) => [
		`const events = new EventSource(${js(url)});`,
		...types.map((type) => `events.addEventListener(${js(type)}, e => console.log(e.data, e.lastEventId));`),
		`events.addEventListener('gap', e => console.warn('events are missing', e.data));`,
	],
	'client module': ({ topics }) => [
		`import { connect } from ${js(here('assets/freshet.js'))};`,
		``,
		`const s = connect(${topics.length ? `{ topics: [${topics.map(js).join(', ')}] }` : ''});`,
		`s.on('state', ({ state }) => console.log(state));`,
		`for await (const e of s) console.log(e.topic, e.type, e.data);`,
	],
	curl: ({ url }) => [`curl -N ${quote(url)}`],
	Go: ({ url }) => [
		`r, err := http.NewRequest("GET", ${JSON.stringify(url)}, nil)`,
		`if err != nil {\n\treturn err\n}`,
		`r.Header.Set("Accept", "application/x-ndjson")`,
		`answer, err := http.DefaultClient.Do(r)`,
		`if err != nil {\n\treturn err\n}`,
		`defer answer.Body.Close()`,
		`for lines := json.NewDecoder(answer.Body); ; {`,
		`\tvar e struct{ ID, Topic, Type, Data string }`,
		`\tif err := lines.Decode(&e); err != nil {\n\t\treturn err\n\t}`,
		`\tif e.Topic != "" {\n\t\tfmt.Println(e.ID, e.Topic, e.Type, e.Data)\n\t}\n}`,
	],
};

/** snippets fills the view. typesOf returns the types of matching topics. The result is a function that shows other topics. */
export function snippets(typesOf) {
	const texts = Object.keys(kinds).map((kind) => {
		const text = element('pre');
		text.tabIndex = 0;
		text.setAttribute('role', 'group');
		text.setAttribute('aria-label', kind);
		const copyButton = button('copy', (b) => copyByButton(b, text.textContent));
		copyButton.setAttribute('aria-label', `copy: ${kind}`);
		$('snippets').append(element('section', '', element('div', 'head', element('h3', '', kind), copyButton), text));
		return [kind, text];
	});
	const update = () => {
		const topics = $('chosen').value.split(/[\s,]+/).filter(Boolean);
		const query = topics.map((topic) => `topic=${encodeURIComponent(topic).replaceAll('%3E', '>')}`).join('&');
		const types = topics.flatMap((topic) => (/[*>]/.test(topic) ? typesOf((seen) => matches(topic, seen)) : [topic]));
		const chosen = { topics, url: here(`event${query && `?${query}`}`), types: types.length ? types : topics.length ? ['news'] : [...typesOf(() => true), 'message'] };
		for (const [kind, text] of texts) write(text, kinds[kind](chosen).join('\n'));
	};
	$('chosen').addEventListener('input', update);
	return (topics = $('chosen').value) => {
		$('chosen').value = topics;
		update();
	};
}
