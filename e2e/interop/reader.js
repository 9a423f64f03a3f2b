// Reads an event stream with one of npm's packages and prints each event that the package
// dispatches as a line of JSON: {"type","data","id"}.
//
//   node reader.js eventsource|eventsource-parser URL TYPE...

import { setTimeout } from 'node:timers/promises';
import { EventSource } from 'eventsource';
import { createParser } from 'eventsource-parser';

const [kind, url, ...types] = process.argv.slice(2);
const print = (type, data, id) => process.stdout.write(`${JSON.stringify({ type, data, id })}\n`);

const readers = {
  eventsource() {
    const source = new EventSource(url);
    for (const type of types) source.addEventListener(type, (e) => print(e.type, e.data, e.lastEventId));
  },

  // The package only parses: coming back with the last event ID, after the time that the
  // server set, is left to whoever uses it.
  async 'eventsource-parser'() {
    let lastEventID = '', retry = 1000;
    const parser = createParser({
      onEvent({ id, event, data }) {
        if (id) lastEventID = id;
        print(event ?? 'message', data, id ?? '');
      },
      onRetry(ms) { retry = ms; },
      onError(error) { throw error; },
    });
    for (;;) {
      try {
        const headers = { Accept: 'text/event-stream' };
        if (lastEventID) headers['Last-Event-ID'] = lastEventID;
        const answer = await fetch(url, { headers });
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        for await (const text of answer.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
      } catch (error) {
        if (error.name === 'ParseError') throw error;
        console.error(`${error.message}: ${error.cause?.message ?? ''}`);
      }
      parser.reset();
      await setTimeout(retry);
    }
  },
};
await readers[kind]();
