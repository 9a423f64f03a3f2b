import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useEvents } from './use-events.react.js';

export function mount(target) {
	const page = { mounts: 0, read: (topic) => page.setTopic(topic), unmount: () => root.unmount() };
	function Orders() {
		const [topic, setTopic] = useState('orders.eu');
		useEffect(() => { globalThis.mounts++; }, []);
		page.setTopic = setTopic;
		return <ul>{useEvents(topic).map(e => <li key={e.id}>{e.data}</li>)}</ul>;
	}
	function Newest() {
		return <p>{useEvents('orders.>').at(-1)?.topic}</p>;
	}
	const root = createRoot(target);
	root.render(<StrictMode><Orders /><Newest /></StrictMode>);
	return page;
}
