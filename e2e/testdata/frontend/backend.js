// Publishes an answer to a topic, as the backend of a chat: node backend.js LIBRARY TOPIC. The model says the lines of standard input, which are strings of JSON.

import { createInterface } from 'node:readline';
import { publish } from './publish.js';

const [library, topic] = process.argv.slice(2);

async function* model() {
	for await (const line of createInterface({ input: process.stdin })) yield JSON.parse(line);
}

const answers = {
	async ai() {
		const { streamText } = await import('ai');
		const { MockLanguageModelV3 } = await import('ai/test');
		async function* parts() {
			yield { type: 'stream-start', warnings: [] };
			yield { type: 'text-start', id: '1' };
			for await (const delta of model()) yield { type: 'text-delta', id: '1', delta };
			yield { type: 'text-end', id: '1' };
			yield { type: 'finish', finishReason: { unified: 'stop' }, usage: { inputTokens: {}, outputTokens: {} } };
		}
		const result = streamText({ model: new MockLanguageModelV3({ doStream: async () => ({ stream: ReadableStream.from(parts()) }) }), prompt: 'What is the answer?' });
		return result.toUIMessageStream({ generateMessageId: () => topic });
	},
	async tanstack() {
		const { chat } = await import('@tanstack/ai');
		async function* chatStream({ runId, threadId }) {
			const run = { runId, threadId, model: 'test', timestamp: Date.now() };
			yield { ...run, type: 'RUN_STARTED' };
			yield { ...run, type: 'TEXT_MESSAGE_START', messageId: topic, role: 'assistant' };
			for await (const delta of model()) yield { ...run, type: 'TEXT_MESSAGE_CONTENT', messageId: topic, delta };
			yield { ...run, type: 'TEXT_MESSAGE_END', messageId: topic };
			yield { ...run, type: 'RUN_FINISHED', finishReason: 'stop' };
		}
		const messages = [{ role: 'user', content: 'What is the answer?' }];
		return chat({ adapter: { kind: 'text', name: 'test', model: 'test', chatStream }, messages, threadId: '17', runId: topic.replace('runs.', '') });
	},
};
await publish(topic, await answers[library]());
