// The count, the server's figures and the state of the EventSource that brings both.

import { age, bytes, group, short, span } from './format.js';

const url = '/event?topic=counter&topic=stats';
const silence = 10_000; // ms without a word, once stats have come every 2 s: the peer is gone

/** count opens the stream; onState is told connecting, live or waiting, onStats each figures object. */
export function count({ onState, onStats, onID }) {
  const cnt = document.getElementById('cnt');
  let source, failures = 0, heard = 0, told = false;

  function open() {
    told = false;
    source = new EventSource(url);
    source.onopen = () => {
      failures = 0;
      onState('live');
    };
    source.onmessage = (e) => {
      heard = performance.now();
      writeCount(cnt, e.data);
      if (e.lastEventId) onID(e.lastEventId);
    };
    source.addEventListener('stats', (e) => {
      heard = performance.now();
      told = true;
      if (e.lastEventId) onID(e.lastEventId);
      try {
        onStats(JSON.parse(e.data));
      } catch {
        // Not the figures: the ones on the page stay.
      }
    });
    source.addEventListener('drain', () => onState('waiting'));
    source.onerror = () => {
      onState('waiting');
      told = false;
      // The browser comes back by itself unless the answer was no event stream.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(open, Math.min(30_000, 1000 * 2 ** failures++) * (0.5 + Math.random()));
      }
    };
  }

  open();
  setInterval(() => {
    if (!told || performance.now() - heard < silence) return;
    source.close();
    onState('waiting');
    open();
  }, 5000);
}

// The element's text stays the plain count; the space in the thousands is the style sheet's.
function writeCount(cnt, data) {
  if (!/^\d{4,}$/.test(data)) {
    cnt.textContent = data;
    return;
  }
  cnt.replaceChildren(...data.split(/(?=(?:\d{3})+$)/).map((digits) => {
    const part = document.createElement('span');
    part.textContent = digits;
    return part;
  }));
}

const number = (n) => (typeof n === 'number' && Number.isFinite(n) ? n : null);

/** figures returns a function that writes a stats object into the list. */
export function figures(list, server) {
  const place = Object.fromEntries([...list.querySelectorAll('[data-figure]')].map((dd) => [dd.dataset.figure, dd]));

  function put(name, value, format, suffix = '') {
    const n = number(value);
    const [digits, unit] = n === null ? ['–', ''] : format(n);
    const small = document.createElement('small');
    small.textContent = n === null ? '' : unit + suffix;
    place[name].replaceChildren(digits, ' ', small);
  }
  function total(name, value, noun) {
    const n = number(value);
    place[name].textContent = n === null ? '\u00a0' : `${short(n).join(' ').trim()} ${noun}`;
  }

  return (s) => {
    put('readers', s.connections, (n) => (n < 1e6 ? [group(n), ''] : short(n)));
    put('in', s.published_per_s, short, '/s');
    put('out', s.delivered_per_s, short, '/s');
    put('p50', s.latency_p50_ms, span);
    put('p99', s.latency_p99_ms, span);
    put('log', s.log_bytes, bytes);
    total('published', s.published, 'in all');
    total('delivered', s.delivered, 'in all');
    total('events', s.log_events, 'events');
    place.node.textContent = s.node ? `node ${s.node}` : '\u00a0';
    const facts = [];
    if (number(s.uptime_s) !== null) facts.push(`up ${age(s.uptime_s)}`);
    if (number(s.memory_bytes) !== null) facts.push(`memory ${bytes(s.memory_bytes).join(' ')}`);
    server.textContent = facts.join(' · ') || '\u00a0';
  };
}
