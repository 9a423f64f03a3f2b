import { useEffect, useState } from 'react';
import { connect } from 'freshet-client';

export function useEvents(topic) {
  const [events, setEvents] = useState([]);
  useEffect(() => {
    const s = connect('https://events.example/event', { topics: [topic], since: '-20' });
    s.on(topic, e => setEvents(list => [...list.slice(-99), e]));
    return () => { s.close(); setEvents([]); };
  }, [topic]);
  return events;
}
