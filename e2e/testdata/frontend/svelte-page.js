import { flushSync, mount as mountComponent, unmount } from 'svelte';
import { props } from './topic.svelte.js';
import Orders from './Orders.svelte';

export function mount(target) {
	const orders = mountComponent(Orders, { target, props });
	return { read(topic) { flushSync(() => { props.topic = topic; }); }, unmount: () => unmount(orders) };
}
