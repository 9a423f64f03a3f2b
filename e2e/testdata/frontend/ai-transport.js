import { answer } from 'freshet-client';

function read(topic, signal) {
  const a = answer(topic, { url: 'https://events.example/event', merge: 'lines' });
  signal?.addEventListener('abort', () => a.close());
  return a.readable.pipeThrough(new TransformStream({
    transform(lines, stream) { for (const line of lines.split('\n')) stream.enqueue(JSON.parse(line)); },
  }));
}

export const transport = {
  resumeStreamIsReplay: true,
  async sendMessages({ chatId, messages, abortSignal }) {
    const response = await fetch(`/api/chats/${chatId}`, { method: 'POST', body: JSON.stringify({ messages }), signal: abortSignal });
    if (!response.ok) throw new Error(await response.text());
    return read((await response.json()).topic, abortSignal);
  },
  async reconnectToStream({ chatId, abortSignal }) {
    const { topic } = await (await fetch(`/api/chats/${chatId}`, { signal: abortSignal })).json();
    return topic ? read(topic, abortSignal) : null;
  },
};
