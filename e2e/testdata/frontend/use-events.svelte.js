import { connect } from 'freshet-client';

export function useEvents(topic) {
  let events = $state.raw([]);
  $effect(() => {
    const name = topic();
    const s = connect('https://events.example/event', { topics: [name], since: '-20' });
    s.on(name, e => { events = [...events.slice(-99), e]; });
    return () => { s.close(); events = []; };
  });
  return { get list() { return events; } };
}
