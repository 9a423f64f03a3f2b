// The client of a Freshet server. docs/client.md describes it, and freshet.d.ts has its types:
//
//	import { connect } from 'https://events.example/assets/freshet.js';
//	connect({ topics: ['orders.>'] }).on('orders.*.paid', (e) => console.log(e.id, e.json()));
//
// A Stream is what a page holds. A Connection reads the server's lines and reconnects. A Share passes the lines that one tab reads to
// all tabs of the origin. A Credential is the ticket or token of the requests, renewed before it expires.
//
// Everything rests on the stream's cursor, the ID up to which it has dispatched all events. A stream drops each line that is not
// after its cursor, wherever the line comes from. So a tab in doubt reads from its own cursor, and no event is lost or repeated.

export { answer } from './freshet/answer.js';
export { connect, Stream, StreamEvent } from './freshet/stream.js';
export { matches } from './freshet/pattern.js';
