import { createServer } from 'node:http';
import { createResumableStreamContext } from 'resumable-stream';

const context = createResumableStreamContext({ waitUntil: () => {} }); // this process does not end with a request
const streams = new Map(); // of answers that nobody has read yet

const server = createServer((req, res) => {
	const { pathname, searchParams } = new URL(req.url, 'http://localhost');
	const serve = req.method === 'POST' ? write : read;
	serve(pathname, req, res, searchParams.has('reloaded')).catch((err) => {
		console.error(err);
		res.destroy();
	});
});

async function write(id, req, res) {
	streams.set(id, await context.createNewResumableStream(id, () => tokensOf(req)));
	res.flushHeaders();
	req.on('end', () => res.end());
}

async function read(id, req, res, reloaded) {
	let stream = streams.get(id);
	streams.delete(id);
	if (reloaded) {
		await stream?.cancel(); // the first reader is gone
		stream = await context.resumeExistingStream(id);
	}
	if (!stream) {
		res.writeHead(422).end();
		return;
	}
	res.writeHead(200, { 'Content-Type': 'text/event-stream' });
	res.flushHeaders();
	for await (const text of stream) res.write(text);
	res.end();
}

/** The strings in the lines of the body. */
function tokensOf(req) {
	req.setEncoding('utf8');
	let rest = '';
	return new ReadableStream({
		start(controller) {
			req.on('data', (text) => {
				const lines = (rest + text).split('\n');
				rest = lines.pop();
				for (const line of lines) controller.enqueue(JSON.parse(line));
			});
			req.on('end', () => controller.close());
			req.on('error', () => controller.close()); // an error would end the process
		},
	});
}

server.listen(0, '127.0.0.1', () => console.log('ready', `127.0.0.1:${server.address().port}`));
