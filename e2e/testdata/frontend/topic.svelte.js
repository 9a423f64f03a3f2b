export const props = $state({ topic: 'orders.eu' });
