// The topics seen, each with its count and its rate; choosing one filters the feed.

import { group, short } from './format.js';

const mostTopics = 500; // the ones heard last; a topic costs its publisher nothing
const seconds = 5; // what a rate is taken over

/** Topics draws into the list once a second; onChoose gets the topic chosen, or the empty string. */
export class Topics {
  #list;
  #onChoose;
  #topics = new Map(); // in the order in which they were heard last
  #chosen = '';

  constructor(list, onChoose) {
    this.#list = list;
    this.#onChoose = onChoose;
    setInterval(() => this.#tick(), 1000);
  }

  get size() { return this.#topics.size; }
  get full() { return this.#topics.size === mostTopics; }

  /** seen counts an event; one from before the stream opened says nothing about the rate. */
  seen({ topic, old }) {
    let t = this.#topics.get(topic);
    if (t) this.#topics.delete(topic);
    else t = this.#place(topic);
    this.#topics.set(topic, t);
    t.count++;
    if (!old) t.second++;
    if (this.#topics.size > mostTopics) {
      const [oldest, gone] = this.#topics.entries().next().value;
      gone.row.remove();
      this.#topics.delete(oldest);
    }
  }

  /** choose marks one topic, or none. */
  choose(topic) {
    this.#topics.get(this.#chosen)?.button.setAttribute('aria-pressed', 'false');
    this.#topics.get(topic)?.button.setAttribute('aria-pressed', 'true');
    this.#chosen = topic;
  }

  /** draw writes the counts. */
  draw() {
    for (const t of this.#topics.values()) {
      write(t.counted, t.count < 1e5 ? group(t.count) : short(t.count).join(' '));
    }
  }

  #tick() {
    for (const t of this.#topics.values()) {
      t.recent.push(t.second);
      t.second = 0;
      if (t.recent.length > seconds) t.recent.shift();
      const rate = t.recent.reduce((a, b) => a + b) / seconds;
      t.row.classList.toggle('still', rate === 0);
      write(t.rate, `${short(rate).join(' ').trim()}/s`);
    }
    this.draw();
  }

  // Rows stand in the order of their names, so that none moves when rates change.
  #place(topic) {
    const row = document.createElement('li');
    const button = document.createElement('button');
    const [name, counted, rate] = ['name', 'counted', 'rate'].map((c) => {
      const span = document.createElement('span');
      span.className = c;
      return span;
    });
    button.type = 'button';
    button.append(name, ' ', counted, ' ', rate);
    button.setAttribute('aria-pressed', String(topic === this.#chosen));
    button.title = `show only ${topic}`;
    button.addEventListener('click', () => this.#onChoose(topic === this.#chosen ? '' : topic));
    name.textContent = row.topic = topic;
    rate.textContent = '0/s';
    row.className = 'still';
    row.append(button);
    const after = [...this.#list.children].find((other) => other.topic > topic);
    this.#list.insertBefore(row, after ?? null);
    return { row, button, counted, rate, count: 0, second: 0, recent: [] };
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
