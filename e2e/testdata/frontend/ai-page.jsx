import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { useChat } from '@ai-sdk/react';
import { transport } from './ai-transport.js';

function Chat({ stored }) {
	const { messages, sendMessage, stop, status, error } = useChat({ id: '17', messages: stored, transport, resume: true });
	Object.assign(globalThis, { send: (text) => { sendMessage({ text }); }, stop });
	return <>
		<ol>{messages.map(m => <li key={m.id}>{m.role}: {m.parts.map(part => part.text).join('')}</li>)}</ol>
		<output>{status} {error?.message}</output>
	</>;
}

export async function mount(target) {
	const { messages } = await (await fetch('/api/chats/17')).json();
	createRoot(target).render(<StrictMode><Chat stored={messages} /></StrictMode>);
}
