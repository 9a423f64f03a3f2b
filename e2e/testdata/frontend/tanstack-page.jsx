import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { useChat } from '@tanstack/ai-react';
import { connection } from './tanstack-connection.js';

function Chat() {
	const { messages, sendMessage, stop, status, error } = useChat({ threadId: '17', connection, persistence: true });
	Object.assign(globalThis, { send: (text) => { sendMessage(text); }, stop });
	return <>
		<ol>{messages.map(m => <li key={m.id}>{m.role}: {m.parts.map(part => part.content).join('')}</li>)}</ol>
		<output>{status} {error?.message}</output>
	</>;
}

export function mount(target) {
	createRoot(target).render(<StrictMode><Chat /></StrictMode>);
}
