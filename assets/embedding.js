/** A component in an app elsewhere: its place, styles, theme and troubles. */

import { listenToCharts } from "./lib/chart_tools.js";
import { el, setText } from "./lib/dom.js";
import { Life, living } from "./lib/life.js";
import { followTheme } from "./lib/theme.js";

const STYLES = new URL("modules.css", import.meta.url).href; // beside this file, as well as beside what is built of it

/**
 * @typedef {Object} Frame
 * @property {HTMLElement} head
 * @property {HTMLElement} body
 * @property {AbortSignal} signal the component is gone
 * @property {(sentence: string, again?: () => void) => void} say what is wrong, and how it is tried again; "" for nothing
 */
/** @template P @typedef {{update: (props: P) => void, close: () => void}} Part */

/**
 * Mounts a part once its styles are there: a shadow root keeps ours and the page's apart.
 * @template P
 * @param {HTMLElement} place @param {number} height least, in px, before there is anything to draw
 * @param {P} props @param {(frame: Frame, props: P) => Part<P>} make
 * @returns {Part<P>}
 */
export function embed(place, height, props, make) {
  const life = new Life();
  const [head, body, sentence] = [el("div", { class: "deepseek-head" }), el("div", { class: "deepseek-body" }), el("span")];
  const retry = el("button", { class: "btn", type: "button", onclick: () => again() }, "Try again");
  const said = el("div", { class: "deepseek-said", role: "alert", hidden: true }, sentence, retry);
  const element = el("div", { class: "deepseek", style: "visibility: hidden" }, head, said, body);
  let again = () => {};
  const say = (/** @type {string} */ text, /** @type {(() => void) | undefined} */ action) => {
    said.hidden = !text;
    setText(sentence, text);
    again = action ?? again;
    retry.hidden = !action;
  };
  const styles = el("link", { rel: "stylesheet", href: STYLES });
  (place.shadowRoot ?? place.attachShadow({ mode: "open" })).replaceChildren(styles, element);

  /** @type {Part<P> | undefined} */
  let part;
  const begin = () => {
    if (life.signal.aborted) return;
    element.style.visibility = "";
    const { minHeight } = place.style;
    element.hidden = true;
    place.style.minHeight = "0";
    const isSized = place.clientHeight > 0; // by the page: what stands below it is not covered
    place.style.minHeight = minHeight;
    element.hidden = false;
    element.classList.toggle("sized", isSized);
    if (!isSized) element.style.minHeight = `${height}px`;
    part = living(life, () => {
      followTheme(element);
      listenToCharts();
      return make({ head, body, signal: life.signal, say }, props);
    });
  };
  for (const event of ["load", "error"]) styles.addEventListener(event, begin, { once: true });
  return {
    update(changed) {
      props = changed;
      living(life, () => part?.update(changed));
    },
    close() {
      life.end();
      part?.close();
    },
  };
}
