/** How long something lasts that a part of a page has asked for: until the page's view is closed. While another page is shown it is mute. */

export class Life {
  #end = new AbortController();

  /** Another page is shown, and this one may come back. */
  rests = false;

  /** Aborted at its end. */
  get signal() {
    return this.#end.signal;
  }

  end() {
    this.#end.abort();
  }
}

let current = new Life();

/** That of what is being made, or of the page that is shown. */
export const life = () => current;

/** From now on what is asked for lasts as long as `next`. @param {Life} next */
export function enter(next) {
  current = next;
}

/** What `make` asks for ends with `own`, and not with the page. @template T @param {Life} own @param {() => T} make @returns {T} */
export function living(own, make) {
  const before = current;
  current = own;
  try {
    return make();
  } finally {
    current = before;
  }
}

/** @param {number} period_ms @param {() => void} action */
export function every(period_ms, action) {
  const own = current;
  const timer = setInterval(() => own.rests || action(), period_ms);
  own.signal.addEventListener("abort", () => clearInterval(timer));
}

/** @param {EventTarget} target @param {string} type @param {(event: any) => void} action @param {boolean} [capture] before those below hear it */
export function listen(target, type, action, capture = false) {
  const own = current;
  target.addEventListener(type, (event) => own.rests || action(event), { capture, signal: own.signal });
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
