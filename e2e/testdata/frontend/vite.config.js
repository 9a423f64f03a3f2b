import { svelte } from '@sveltejs/vite-plugin-svelte';

export default {
	plugins: [svelte()],
	logLevel: 'warn',
	build: { minify: false },
	define: { __VUE_OPTIONS_API__: false, __VUE_PROD_DEVTOOLS__: false, __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false }, // or Vue warns
};
