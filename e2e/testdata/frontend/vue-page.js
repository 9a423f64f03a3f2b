import { createApp, h, ref } from 'vue';
import { useEvents } from './use-events.vue.js';

export function mount(target) {
	const topic = ref('orders.eu');
	const app = createApp({
		setup() {
			const events = useEvents(topic);
			return () => h('ul', events.value.map((e) => h('li', { key: e.id }, e.data)));
		},
	});
	app.mount(target);
	return { read(name) { topic.value = name; }, unmount: () => app.unmount() };
}
