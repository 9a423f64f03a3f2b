import { answer } from 'freshet-client';

async function* read(topic, signal) {
  const a = answer(topic, { url: 'https://events.example/event', merge: 'lines' });
  signal?.addEventListener('abort', () => a.close());
  for await (const lines of a) yield* lines.split('\n').map(line => JSON.parse(line));
}

export const connection = {
  async *connect(messages, data, signal, { threadId, runId }) {
    const response = await fetch(`/api/chats/${threadId}`, { method: 'POST', body: JSON.stringify({ messages, runId }), signal });
    if (!response.ok) throw new Error(await response.text());
    yield* read(`runs.${runId}`, signal);
  },
  joinRun: (runId, signal) => read(`runs.${runId}`, signal),
  hydrate: async threadId => (await fetch(`/api/chats/${threadId}`)).json(),
};
