/** How long something lasts that a part of a page has asked for: until another page is shown. */

/** @type {{signal: AbortSignal, abort: () => void}} */
let current = new AbortController();

/** Aborted when another page is shown. */
export const life = () => current.signal;

/** Another page is about to be made: what those before asked for ends. */
export function renewLife() {
  current.abort();
  current = new AbortController();
}

/**
 * What `make` asks for ends with `signal`, and not with the page: that of a component in an app elsewhere.
 * @template T @param {AbortSignal} signal @param {() => T} make @returns {T}
 */
export function living(signal, make) {
  const before = current;
  current = { signal, abort: () => before.abort() };
  try {
    return make();
  } finally {
    current = before;
  }
}

/** @param {number} period_ms @param {() => void} action */
export function every(period_ms, action) {
  const timer = setInterval(action, period_ms);
  life().addEventListener("abort", () => clearInterval(timer));
}

/** @param {EventTarget} target @param {string} type @param {(event: any) => void} action @param {boolean} [capture] before those below hear it */
export function listen(target, type, action, capture = false) {
  target.addEventListener(type, action, { capture, signal: life() });
}

const LEAVE = "deepseek-leave";

/** Ask before something that is not saved is lost. @param {() => string} unsaved what that is; "" for nothing */
export function guard(unsaved) {
  listen(window, "beforeunload", (event) => unsaved() && event.preventDefault());
  listen(window, LEAVE, (event) => {
    const what = unsaved();
    if (what && !confirm(`Discard the unsaved ${what}?`)) event.preventDefault();
  });
}

/** Whether another page may be shown: nothing is lost, or a user does not mind. */
export const mayLeave = () => dispatchEvent(new CustomEvent(LEAVE, { cancelable: true }));
