// Each page is a chunk of the bundle: /?react mounts the one for React. unmount() ends it, and read(topic) changes its topic.

const pages = {
	react: () => import('./react-page.jsx'),
	vue: () => import('./vue-page.js'),
	svelte: () => import('./svelte-page.js'),
	ai: () => import('./ai-page.jsx'),
	tanstack: () => import('./tanstack-page.jsx'),
};
const { mount } = await pages[location.search.slice(1)]();
Object.assign(globalThis, await mount(document.querySelector('main')));
