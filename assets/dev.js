// Shows the page with the files as they are on disk: edit one, reload. Everything else comes from a running Freshet.
//
//	node assets/dev.js [http://localhost:8080]

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.ts': 'text/plain', '.html': 'text/html; charset=utf-8' };

/** serve returns a server that answers for the Freshet at target. */
export function serve(target) {
	return http.createServer(async (request, response) => {
		const { pathname } = new URL(request.url, target);
		const file = pathname === '/' ? '../templates/index.html' : /^\/assets\/(.+)$/.exec(pathname)?.[1];
		if (!file) return forward(target, request, response);
		try {
			const content = await readFile(new URL(file, import.meta.url), 'utf8');
			response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream').setHeader('Cache-Control', 'no-store');
			response.end(content.replaceAll(/\{\{.*?\}\}/g, ''));
		} catch (error) {
			response.writeHead(404).end(String(error));
		}
	});
}

function forward(target, request, response) {
	const headers = { ...request.headers, host: target.host }; // the server answers for its own names only
	if (headers.origin) headers.origin = target.origin; // and lets its own page publish
	const through = http.request(new URL(request.url, target), { method: request.method, headers }, (answer) => {
		response.writeHead(answer.statusCode, answer.headers);
		answer.pipe(response);
	});
	through.on('error', (error) => (response.headersSent ? response.destroy() : response.writeHead(502).end(String(error))));
	response.on('close', () => through.destroy());
	request.pipe(through);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const server = serve(new URL(process.argv[2] ?? 'http://localhost:8080'));
	server.listen(0, 'localhost', () => console.log(`http://localhost:${server.address().port}/`));
}
