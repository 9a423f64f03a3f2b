// Shows a part of the log in place of the newest events. It is read by a stream of its own.

import { connect } from '../freshet/stream.js';

const maxEvents = 500;
const endedAfter = 300; // ms without another event

/** replay shows the events of the feed's topics, beginning with the ID. */
export function replay(feed, id, last, { isLimited, ...credential }, onChange) {
	const number = (id) => Number(id.split('-')[1]);
	const [epoch] = id.split('-');
	const events = [];
	replay.stop?.();
	const stream = connect({ topics: feed.pattern ? [feed.pattern] : isLimited ? [] : ['>'], since: `${epoch}-${Math.max(0, number(id) - 1)}`, share: false, ...credential });
	let timer = 0;
	replay.stop = () => {
		clearTimeout(timer);
		stream.close();
	};
	const show = () => {
		replay.stop();
		replay.next = events.length === maxEvents ? events.at(-1).id : '';
		replay.words = `replay from ${id}`;
		feed.show(events);
		onChange();
	};
	const wait = () => {
		clearTimeout(timer);
		timer = setTimeout(show, endedAfter);
	};
	stream.on('open', wait);
	stream.on('error', ({ reason, status }) => {
		show();
		replay.words = `no replay: ${reason || status}`;
		onChange();
	});
	stream.on('>', ({ id, topic, type, time, data }) => {
		events.push({ id, topic, type, time, data, size: data.length + 200 });
		if (events.length < maxEvents && number(id) < number(last)) wait();
		else show();
	});
}

replay.words = replay.next = '';
