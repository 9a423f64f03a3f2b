package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TypeScript's compiler accepts the types, in its strictest mode.
func TestClientTypes(t *testing.T) {
	t.Parallel()
	modules := installNodeModules(t)
	dir := t.TempDir()
	types, err := os.ReadFile(filepath.Join("..", "assets", "freshet.d.ts"))
	must(t, errors.Join(err,
		os.WriteFile(filepath.Join(dir, "freshet.d.ts"), types, 0o600),
		os.WriteFile(filepath.Join(dir, "page.ts"), []byte(`
import { connect, matches, Stream, StreamEvent, type State } from './freshet.js';

const s = connect({ topics: ['orders.*'], since: 'last', ticket: async () => 'a ticket', identity: 'alice' });
const off: () => void = s.on('orders.new', (e) => {
	const order = e.json<{ n: number }>();
	const place: [string, string, Date | null] = [e.topic, e.id, e.time];
	console.log(order.n, place, e.data.length, e.lastEventId);
});
off();
s.on('state', ({ state, wait }) => { const known: State = state; console.log(known, wait); });
s.on('gap', (e: StreamEvent) => console.log(e.json()));
s.on('error', (e) => console.log(e.reason, e.status));
for await (const e of s) { if (e.topic === '') break; }

// Like an EventSource.
const ev = new Stream('/event?topic=news');
ev.onmessage = (e) => console.log(e.data);
ev.onerror = () => { if (ev.readyState === Stream.CLOSED) ev.close(); };
ev.addEventListener('news', (e) => console.log(e.lastEventId));
const source: Pick<EventSource, 'url' | 'readyState' | 'withCredentials' | 'close' | 'CLOSED'> = ev;
const heard = (e: StreamEvent) => console.log(e.data);
ev.addEventListener('news', heard);
ev.removeEventListener('news', heard);
console.log(source.url, matches('orders.*', 'orders.new'));

// @ts-expect-error only the stream makes events
new StreamEvent('news');
// @ts-expect-error there is no such option
connect({ topic: 'news' });
// @ts-expect-error states are words
if (s.state === 'open') off();
`), 0o600)))
	tsc := exec.CommandContext(t.Context(), filepath.Join(modules, ".bin", "tsc"),
		"--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler",
		"--lib", "es2022,dom,dom.iterable,dom.asynciterable", "page.ts")
	tsc.Dir = dir
	if output, err := tsc.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
