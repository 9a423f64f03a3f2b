// The token that publishing needs. It comes in the URL's fragment, which reaches no server
// and no log, is stripped from the URL at once and kept for the life of the tab.

const key = 'freshet.token';
let kept = '';
const watchers = [];

try {
  kept = sessionStorage.getItem(key) ?? '';
} catch {
  // Storage is off: the token lives as long as the page.
}

/** token returns the token, or the empty string. */
export function token() {
  return kept;
}

/** keep replaces the token; the empty string forgets it. */
export function keep(value) {
  kept = value;
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch {
    // As above.
  }
  for (const tell of watchers) tell();
}

/** watch calls tell after every change of the token. */
export function watch(tell) {
  watchers.push(tell);
}

function take() {
  // Not URLSearchParams: it would read the + of a token as a space.
  const found = /(?:^#|&)token=([^&]*)/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, '', location.pathname + location.search);
  let value = found[1];
  try {
    value = decodeURIComponent(value);
  } catch {
    // Not percent-encoded: taken as it is.
  }
  keep(value.trim());
}

take();
addEventListener('hashchange', take);
