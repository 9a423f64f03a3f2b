import { shallowRef, toValue, watchPostEffect } from 'vue';
import { connect } from 'freshet-client';

export function useEvents(topic) {
  const events = shallowRef([]);
  watchPostEffect(onCleanup => {
    const name = toValue(topic);
    const s = connect('https://events.example/event', { topics: [name], since: '-20' });
    s.on(name, e => { events.value = [...events.value.slice(-99), e]; });
    onCleanup(() => { s.close(); events.value = []; });
  });
  return events;
}
